// Copies of whole trees: types, owners, modes, times to the nanosecond, xattrs (capabilities and
// ACLs among them), hard links, devices, holes.
#pragma once

#include "base/context.h"
#include "sys/file.h"

namespace skiff::sys {

// Makes `target`, an existing empty folder, an equal of the folder `source`, attributes of the top
// folder included. Data is shared where the file system can (reflink), else copied in the kernel.
// Follows no link. Stops with the context; what was copied by then stays. An error names the entry.
Status copy_tree(const Context& context, const Path& source, const Path& target);

}  // namespace skiff::sys
