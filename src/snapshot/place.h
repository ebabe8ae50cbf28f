// What the drivers have in common.
#pragma once

#include "snapshot/driver.h"

namespace skiff::snapshot {

// An empty folder, whatever was there.
Status make_empty(const sys::Path& folder);
// Owner, mode and times of a layer's top folder: an overlay shows those of its uppermost layer.
Status copy_top_attributes(const sys::Path& from, const sys::Path& to);
Mount bind_of(const sys::Path& folder, bool read_only);
// That a snapshot's folder and its layer folder are there.
std::optional<Finding> check_folder(const sys::Path& place, const sys::Path& layer);

}  // namespace skiff::snapshot
