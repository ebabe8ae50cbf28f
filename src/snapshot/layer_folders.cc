#include <algorithm>

#include "snapshot/snapshotter.h"
#include "sys/overlay_mount.h"

namespace skiff::snapshot {

Result<LayerFolders> layer_folders(const std::vector<Mount>& mounts) {
  if (mounts.size() != 1 || !mounts[0].target.empty())
    return fail(Code::kInvalidArgument, "{} mounts are not one local root", mounts.size());
  const Mount& mount = mounts[0];
  LayerFolders folders;
  if (mount.type == "bind") {
    bool read_only = std::ranges::find(mount.options, "ro") != mount.options.end();
    if (read_only)
      folders.lowers.emplace_back(mount.source);
    else
      folders.upper = mount.source;
    return folders;
  }
  if (mount.type != "overlay")
    return fail(Code::kInvalidArgument, "a mount of type {} has no local folders", mount.type);
  for (const std::string& option : mount.options) {
    if (option.starts_with("upperdir=")) folders.upper = option.substr(9);
    if (!option.starts_with("lowerdir=")) continue;
    for (std::string& lower : sys::split_lowers(option.substr(9)))
      folders.lowers.emplace_back(std::move(lower));
  }
  return folders;
}

}  // namespace skiff::snapshot
