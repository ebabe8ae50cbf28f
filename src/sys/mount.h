// Mounts: making, undoing and listing them. Thread-safe, as the kernel's calls are; all act on the
// calling thread's mount namespace. Errors carry errno and, for overlay, the kernel's own reason
// where it gives one.
//
// Options are those of mount(8): flags such as "ro", "nosuid", "rbind", and "key=value" pairs for
// the file system. An overlay may have hundreds of lower folders: mount(2) takes one page of
// options, so overlays go through fsconfig(2), or, on kernels without `lowerdir+`, through relative
// paths.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "sys/file.h"

namespace skiff::sys {

// One mount at `target`, which must exist. `type` "bind" takes "bind" or "rbind" (the default).
Status mount(const std::string& type, const std::string& source,
             const std::vector<std::string>& options, const Path& target);

enum class Unmount {
  kNow,     // fails with EBUSY while it is used
  kDetach,  // out of the tree at once; gone when its last user is
};
// Takes off the topmost mount at `target`, not following a link; ok when nothing is mounted there.
Status unmount(const Path& target, Unmount how = Unmount::kNow);
// Every mount at or below `target`, innermost first.
Status unmount_all(const Path& target, Unmount how = Unmount::kDetach);

// Mounts in order anything with type, source, target (below `target`; empty: itself) and options.
// All or none: a failure takes off those before it.
template <typename Mounts>
Status mount_all(const Mounts& mounts, const Path& target);
// Where a mount's own target lies below the mount root; links may not lead out of it.
Result<Path> mount_point(const Path& root, const std::string& target);

Status bind_mount(const Path& source, const Path& target, bool read_only = false);
Status remount_read_only(const Path& target);
// Mount events no longer pass from or to the tree at `target`.
Status make_private(const Path& target);
// `options` such as "size=64m", "mode=0700".
Status mount_tmpfs(const Path& target, const std::vector<std::string>& options = {});

// A line of /proc/self/mountinfo, unescaped.
struct MountInfo {
  int id = 0;
  int parent = 0;
  std::string device;  // "259:1"
  std::string root;    // within the file system
  std::string target;
  std::string options;
  std::string propagation;  // "shared:1 master:2"; empty: private
  std::string type;
  std::string source;
  std::string super_options;
};
Result<std::vector<MountInfo>> list_mounts();
// InvalidArgument for text that is no mountinfo.
Result<std::vector<MountInfo>> parse_mountinfo(std::string_view text);
// The mounts at or below a folder, in mount order.
Result<std::vector<MountInfo>> mounts_below(const Path& folder);

// Tries an overlay with these extra options between the given folders (in one file system) without
// attaching it anywhere: mounts, deletes a file of the lower and looks whether it is hidden.
// `scratch` is a folder of its own for the attempt; it is left empty.
Status probe_overlay(const Path& scratch, const std::vector<std::string>& options);

// Unmounts (detaching, with all below) at its end.
class MountGuard {
 public:
  MountGuard() = default;
  explicit MountGuard(Path target) : target_(std::move(target)) {}
  MountGuard(MountGuard&& other) noexcept : target_(std::move(other.target_)) {
    other.target_.clear();
  }
  MountGuard& operator=(MountGuard&&) = delete;
  ~MountGuard() { (void)reset(); }

  const Path& target() const { return target_; }
  // Unmounts now and says how that went.
  Status reset() {
    Path target = std::move(target_);
    target_.clear();
    return target.empty() ? ok() : unmount_all(target);
  }
  // The mount stays.
  void release() { target_.clear(); }

 private:
  Path target_;
};

template <typename Mounts>
Status mount_all(const Mounts& mounts, const Path& target) {
  std::vector<Path> done;
  for (const auto& one : mounts) {
    auto at = mount_point(target, one.target);
    Status status = at ? sys::mount(one.type, one.source, one.options, *at)
                       : Status(std::unexpected(at.error()));
    if (status) {
      done.push_back(*std::move(at));
      continue;
    }
    for (auto undo = done.rbegin(); undo != done.rend(); ++undo)
      (void)unmount(*undo, Unmount::kDetach);
    return status;
  }
  return ok();
}

}  // namespace skiff::sys
