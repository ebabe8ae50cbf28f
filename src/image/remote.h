// Remote first: layers that a remote snapshotter has, or can make now, need no download.
#pragma once

#include "base/context.h"
#include "image/unpack_flight.h"
#include "snapshot/snapshotter.h"

namespace skiff::image {

// From the lowest layer up to the first miss, by both label contracts (snapshotter.h). Returns how
// many layers stand as remote snapshots, in the context's namespace. A layer that stands already
// counts only with the remote label: an ordinary one ends the search, and all above it are fetched.
// A failure is a miss and leaves no key behind.
Result<size_t> prepare_remote(const Context& context, snapshot::Snapshotter& snapshotter,
                              const std::vector<LayerPlanPtr>& layers,
                              const oci::Reference& reference, const Digest& manifest);

}  // namespace skiff::image
