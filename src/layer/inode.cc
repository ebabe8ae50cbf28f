#include "layer/inode.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <memory>

#include <dirent.h>
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "layer/names.h"
#include "sys/file.h"

namespace skiff::layer {

using codec::tar::Xattr;
using sys::UniqueFd;

bool is_whiteout(const struct stat& st) { return S_ISCHR(st.st_mode) && st.st_rdev == 0; }

bool is_host_xattr(std::string_view name) {
  return name.starts_with("trusted.overlay.") || name.starts_with("user.overlay.") ||
         name == "security.selinux" || name == "system.nfs4_acl";
}

std::string proc_path(int fd) { return fmt::format("/proc/self/fd/{}", fd); }

std::string proc_path(Place place) {
  return place.base.empty() ? proc_path(place.dir)
                            : fmt::format("/proc/self/fd/{}/{}", place.dir, place.base);
}

namespace {

// A place of an fd's own is reached through its link in /proc, which must be followed.
bool is_own_fd(const std::string& path) {
  constexpr std::string_view kPrefix = "/proc/self/fd/";
  return path.starts_with(kPrefix) && path.find('/', kPrefix.size()) == std::string::npos;
}

Result<std::string> xattr_names(const std::string& path) {
  auto list = is_own_fd(path) ? ::listxattr : ::llistxattr;
  std::string names(256, '\0');
  for (;;) {
    ssize_t n = list(path.c_str(), names.data(), names.size());
    if (n >= 0) {
      names.resize(static_cast<size_t>(n));
      return names;
    }
    if (errno == EOPNOTSUPP) return std::string();
    if (errno != ERANGE) return fail_errno(errno, "list xattrs");
    n = list(path.c_str(), nullptr, 0);
    names.resize(n > 0 ? static_cast<size_t>(n) + 256 : names.size() * 2);
  }
}

Result<std::string> xattr_value(const std::string& path, const char* name) {
  auto get = is_own_fd(path) ? ::getxattr : ::lgetxattr;
  std::string value(256, '\0');
  for (;;) {
    ssize_t n = get(path.c_str(), name, value.data(), value.size());
    if (n >= 0) {
      value.resize(static_cast<size_t>(n));
      return value;
    }
    if (errno != ERANGE) return fail_errno(errno, "get xattr {}", name);
    n = get(path.c_str(), name, nullptr, 0);
    value.resize(n > 0 ? static_cast<size_t>(n) + 256 : value.size() * 2);
  }
}

// Each name in a list of NUL-ended ones.
template <typename Visit>
Status for_each_name(const std::string& names, Visit visit) {
  for (size_t at = 0; at < names.size(); at += std::strlen(names.c_str() + at) + 1)
    SKIFF_TRY(visit(names.c_str() + at));
  return ok();
}

}  // namespace

Result<std::vector<Xattr>> list_xattrs(const std::string& path) {
  std::string names = SKIFF_TRY(xattr_names(path));
  std::vector<Xattr> xattrs;
  SKIFF_TRY(for_each_name(names, [&](const char* name) -> Status {
    if (is_host_xattr(name)) return ok();
    xattrs.push_back({name, SKIFF_TRY(xattr_value(path, name))});
    return ok();
  }));
  std::ranges::sort(xattrs);
  return xattrs;
}

Result<bool> set_xattr(const std::string& path, const Xattr& xattr) {
  auto set = is_own_fd(path) ? ::setxattr : ::lsetxattr;
  if (set(path.c_str(), xattr.name.c_str(), xattr.value.data(), xattr.value.size(), 0) == 0)
    return true;
  // EPERM: user.* on what is neither file nor directory, or a namespace the kernel reserves.
  if (errno == EOPNOTSUPP || errno == EPERM) return false;
  return fail_errno(errno, "set xattr {}", shown(xattr.name));
}

Status replace_xattrs(const std::string& path, std::span<const Xattr> xattrs, uint64_t& dropped) {
  std::string names = SKIFF_TRY(xattr_names(path));
  auto remove = is_own_fd(path) ? ::removexattr : ::lremovexattr;
  SKIFF_TRY(for_each_name(names, [&](const char* name) -> Status {
    bool stays =
        is_host_xattr(name) || std::ranges::find(xattrs, name, &Xattr::name) != xattrs.end();
    if (!stays && remove(path.c_str(), name) != 0 && errno != ENODATA && errno != EOPNOTSUPP)
      return fail_errno(errno, "remove xattr {}", name);
    return ok();
  }));
  for (const Xattr& xattr : xattrs)
    if (is_host_xattr(xattr.name) || !SKIFF_TRY(set_xattr(path, xattr))) ++dropped;
  return ok();
}

Status mark_opaque(int dir_fd) {
  if (fsetxattr(dir_fd, kOverlayOpaque, "y", 1, 0) != 0)
    return fail_errno(errno, "mark a directory opaque");
  return ok();
}

Result<bool> is_opaque(int dir_fd) {
  char value = 0;
  ssize_t n = fgetxattr(dir_fd, kOverlayOpaque, &value, 1);
  if (n >= 0) return n == 1 && value == 'y';
  if (errno == ENODATA || errno == EOPNOTSUPP || errno == ERANGE) return false;
  return fail_errno(errno, "read a directory's opaque mark");
}

Result<std::vector<std::string>> list_names(int dir_fd) {
  // A description of its own: reading moves its position.
  UniqueFd fd(openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail_errno(errno, "open a directory");
  std::unique_ptr<DIR, int (*)(DIR*)> stream(fdopendir(fd.get()), closedir);
  if (!stream) return fail_errno(errno, "open a directory");
  fd.release();
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    dirent* entry = readdir(stream.get());
    if (entry == nullptr) break;
    std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) return fail_errno(errno, "read a directory");
  return names;
}

timespec to_timespec(const codec::tar::Time& time) { return {time.seconds, time.nanoseconds}; }

Status copy_directory_metadata(int from, int to) {
  struct stat st{};
  if (fstat(from, &st) != 0) return fail_errno(errno, "stat");
  if (fchown(to, st.st_uid, st.st_gid) != 0) return fail_errno(errno, "chown");
  if (fchmod(to, st.st_mode & 07777) != 0) return fail_errno(errno, "chmod");
  uint64_t dropped = 0;
  auto xattrs = SKIFF_TRY(list_xattrs(proc_path(from)));
  SKIFF_TRY(replace_xattrs(proc_path(to), xattrs, dropped));
  timespec times[] = {st.st_atim, st.st_mtim};
  if (futimens(to, times) != 0) return fail_errno(errno, "set times");
  return ok();
}

namespace {

Status copy_content(int from, int to) {
  // Shares the blocks where the file system can, copies inside the kernel where it cannot.
  for (;;) {
    ssize_t n = copy_file_range(from, nullptr, to, nullptr, size_t{1} << 30, 0);
    if (n > 0) continue;
    if (n == 0) return ok();
    if (errno == EINTR) continue;
    break;  // not between these file systems
  }
  if (lseek(from, 0, SEEK_SET) < 0 || lseek(to, 0, SEEK_SET) < 0) return fail_errno(errno, "seek");
  char buffer[65536];
  for (;;) {
    ssize_t n = read(from, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "read");
    if (n == 0) return ok();
    SKIFF_TRY(sys::write_fd(to, as_bytes({buffer, static_cast<size_t>(n)})));
  }
}

Status copy_file(Place from, Place to, const struct stat& st) {
  UniqueFd source(openat(from.dir, from.base.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!source) return fail_errno(errno, "open {}", from.base);
  UniqueFd target(openat(to.dir, to.base.c_str(),
                         O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, st.st_mode & 0777));
  if (!target) return fail_errno(errno, "create {}", to.base);
  return copy_content(source.get(), target.get());
}

Status copy_symlink(Place from, Place to) {
  char target[PATH_MAX];
  ssize_t n = readlinkat(from.dir, from.base.c_str(), target, sizeof target - 1);
  if (n < 0) return fail_errno(errno, "read link {}", from.base);
  target[n] = 0;
  if (symlinkat(target, to.dir, to.base.c_str()) != 0)
    return fail_errno(errno, "create {}", to.base);
  return ok();
}

}  // namespace

Status copy_inode(Place from, Place to) {
  struct stat st{};
  if (fstatat(from.dir, from.base.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
    return fail_errno(errno, "stat {}", from.base);
  if (S_ISREG(st.st_mode))
    SKIFF_TRY(copy_file(from, to, st));
  else if (S_ISLNK(st.st_mode))
    SKIFF_TRY(copy_symlink(from, to));
  else if (mknodat(to.dir, to.base.c_str(), st.st_mode, st.st_rdev) != 0)
    return fail_errno(errno, "create {}", to.base);
  if (fchownat(to.dir, to.base.c_str(), st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) != 0)
    return fail_errno(errno, "chown {}", to.base);
  if (!S_ISLNK(st.st_mode) && fchmodat(to.dir, to.base.c_str(), st.st_mode & 07777, 0) != 0)
    return fail_errno(errno, "chmod {}", to.base);
  uint64_t dropped = 0;
  auto xattrs = SKIFF_TRY(list_xattrs(proc_path(from)));
  SKIFF_TRY(replace_xattrs(proc_path(to), xattrs, dropped));
  timespec times[] = {st.st_atim, st.st_mtim};
  if (utimensat(to.dir, to.base.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0)
    return fail_errno(errno, "set times of {}", to.base);
  return ok();
}

KeepTimes::KeepTimes(int dir_fd) : fd_(dir_fd), times_{} {
  struct stat st{};
  if (fstat(fd_, &st) != 0) fd_ = -1;
  times_[0] = st.st_atim;
  times_[1] = st.st_mtim;
}

KeepTimes::~KeepTimes() {
  if (fd_ >= 0) (void)futimens(fd_, times_);
}

}  // namespace skiff::layer
