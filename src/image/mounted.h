// A snapshot mounted for the length of a call.
#pragma once

#include <vector>

#include "base/random_id.h"
#include "snapshot/snapshotter.h"
#include "sys/mount.h"

namespace skiff::image {

// Calls `work` with the folder where `mounts` stand, below `mount_dir`, and takes them off again.
// What `work` says counts before a failure to unmount.
template <typename Work>
auto with_mounted(const sys::Path& mount_dir, const std::vector<snapshot::Mount>& mounts, Work work)
    -> decltype(work(mount_dir)) {
  const sys::Path root = mount_dir / random_id(8);
  SKIFF_TRY(sys::make_dirs(root));
  if (Status mounted = sys::mount_all(mounts, root); !mounted) {
    rmdir(root.c_str());
    return std::unexpected(mounted.error());
  }
  sys::MountGuard guard(root);
  auto result = work(root);
  Status unmounted = guard.reset();
  rmdir(root.c_str());
  if (result && !unmounted) return std::unexpected(unmounted.error());
  return result;
}

}  // namespace skiff::image
