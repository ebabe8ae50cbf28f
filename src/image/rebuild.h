// Committed layers that were never confirmed on disk before the machine went down are made anew
// from their blobs, under the same snapshot id, before anything stands on them.
#pragma once

#include "image/image_service.h"
#include "image/unpack_flight.h"

namespace skiff::image {

// Parents first. A layer whose blob is not here either is named in the log and keeps its mark; a
// pull of its image makes it whole. Run once, before the daemon serves.
Status rebuild_suspects(const Context& context, const ImageService::Parts& parts,
                        UnpackFlights& unpacks);

}  // namespace skiff::image
