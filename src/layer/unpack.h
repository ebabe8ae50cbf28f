// The loop that turns a tar's entries into files; both apply forms are this, with or without
// records.
#pragma once

#include "base/context.h"
#include "codec/window.h"
#include "layer/applier.h"
#include "layer/records.h"

namespace skiff::layer {

// With `records` the overlay form (whiteouts become overlayfs's, what the layer lacks is noted),
// without the mounted one.
Result<ApplyStats> unpack(const Context& context, codec::Window& tar, int root,
                          const ApplyOptions& options, StagedLayer::Records* records);

}  // namespace skiff::layer
