// The second half of the overlay apply form (layer/applier.h).
#pragma once

#include <span>
#include <string>

#include "base/context.h"
#include "layer/records.h"

namespace skiff::layer {

Status settle_layer(const Context& context, StagedLayer::Records& records, int staging,
                    std::span<const std::string> lowers);

}  // namespace skiff::layer
