#include "snapshot/place.h"

#include <cerrno>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace skiff::snapshot {

Status make_empty(const sys::Path& folder) {
  Status made = sys::make_dir(folder, 0700);
  if (made || made.error().sys_errno() != EEXIST) return made;
  SKIFF_TRY(sys::remove_tree(folder));
  return sys::make_dir(folder, 0700);
}

Status copy_top_attributes(const sys::Path& from, const sys::Path& to) {
  struct stat st = SKIFF_TRY(sys::stat_path(from));
  timespec times[2] = {st.st_atim, st.st_mtim};
  if (chown(to.c_str(), st.st_uid, st.st_gid) != 0 || chmod(to.c_str(), st.st_mode & 07777) != 0 ||
      utimensat(AT_FDCWD, to.c_str(), times, 0) != 0)
    return fail_errno(errno, "copy the attributes of {} to {}", from.string(), to.string());
  return ok();
}

Mount bind_of(const sys::Path& folder, bool read_only) {
  return {"bind", folder.string(), "", {read_only ? "ro" : "rw", "rbind"}};
}

std::optional<Finding> check_folder(const sys::Path& place, const sys::Path& layer) {
  if (!sys::path_exists(place))
    return Finding{"layer-missing", place.string(),
                   "there is a row, but no folder: remove the images that use it, then pull again"};
  if (sys::path_exists(layer)) return std::nullopt;
  return Finding{"layer-incomplete", place.string(), "the folder has no fs"};
}

}  // namespace skiff::snapshot
