#include "sys/file.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <set>

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

#include "base/check.h"
#include "base/random_id.h"

namespace skiff::sys {
namespace {

struct DirCloser {
  void operator()(DIR* dir) const { closedir(dir); }
};
using UniqueDir = std::unique_ptr<DIR, DirCloser>;

bool is_dot(const char* name) {
  return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

Result<UniqueDir> open_dir_stream(int dir_fd, const char* name, const Path& path) {
  int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return fail_errno(errno, "open folder {}", path.string());
  DIR* dir = fdopendir(fd);
  if (dir == nullptr) {
    int saved = errno;
    close(fd);
    return fail_errno(saved, "open folder {}", path.string());
  }
  return UniqueDir(dir);
}

Status remove_entry(int dir_fd, const char* name, const Path& path);

Status remove_children(int dir_fd, const char* name, const Path& path) {
  UniqueDir dir = SKIFF_TRY(open_dir_stream(dir_fd, name, path));
  int fd = dirfd(dir.get());
  for (;;) {
    errno = 0;
    dirent* entry = readdir(dir.get());
    if (entry == nullptr) break;
    if (is_dot(entry->d_name)) continue;
    SKIFF_TRY(remove_entry(fd, entry->d_name, path / entry->d_name));
  }
  if (errno != 0) return fail_errno(errno, "read folder {}", path.string());
  return ok();
}

Status remove_entry(int dir_fd, const char* name, const Path& path) {
  if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT) return ok();
  if (errno != EISDIR && errno != EPERM) return fail_errno(errno, "remove {}", path.string());
  // An empty folder goes at once; a mount point says EBUSY before anything below it is touched.
  if (unlinkat(dir_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT) return ok();
  if (errno != ENOTEMPTY && errno != EEXIST)
    return fail_errno(errno, "remove folder {}", path.string());
  SKIFF_TRY(remove_children(dir_fd, name, path));
  if (unlinkat(dir_fd, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
    return fail_errno(errno, "remove folder {}", path.string());
  return ok();
}

using Inode = std::pair<dev_t, ino_t>;

Status add_usage(int dir_fd, const char* name, const Path& path, std::set<Inode>& linked,
                 Usage& usage) {
  struct stat st{};
  if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return ok();  // gone while we walk
    return fail_errno(errno, "stat {}", path.string());
  }
  if (!S_ISDIR(st.st_mode) && st.st_nlink > 1 && !linked.insert({st.st_dev, st.st_ino}).second)
    return ok();
  usage.bytes += static_cast<uint64_t>(st.st_blocks) * 512;
  usage.inodes += 1;
  if (!S_ISDIR(st.st_mode)) return ok();
  UniqueDir dir = SKIFF_TRY(open_dir_stream(dir_fd, name, path));
  while (dirent* entry = readdir(dir.get()))
    if (!is_dot(entry->d_name))
      SKIFF_TRY(add_usage(dirfd(dir.get()), entry->d_name, path / entry->d_name, linked, usage));
  return ok();
}

}  // namespace

Result<UniqueFd> open_file(const Path& path, int flags, mode_t mode) {
  int fd = open(path.c_str(), flags | O_CLOEXEC, mode);
  if (fd < 0) return fail_errno(errno, "open {}", path.string());
  return UniqueFd(fd);
}

Result<UniqueFd> open_file_at(int dir_fd, const std::string& name, int flags, mode_t mode) {
  int fd = openat(dir_fd, name.c_str(), flags | O_CLOEXEC, mode);
  if (fd < 0) return fail_errno(errno, "open {}", name);
  return UniqueFd(fd);
}

Result<UniqueFd> open_dir(const Path& path) { return open_file(path, O_RDONLY | O_DIRECTORY); }

Result<UniqueFd> open_confined(int dir_fd, const std::string& path, int flags, Confine confine,
                               mode_t mode) {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags) | O_CLOEXEC;
  how.mode = mode;
  how.resolve = RESOLVE_NO_MAGICLINKS;
  how.resolve |= confine == Confine::kInRoot ? RESOLVE_IN_ROOT : RESOLVE_BENEATH;
  if (confine == Confine::kNoSymlinks) how.resolve |= RESOLVE_NO_SYMLINKS;
  for (;;) {
    long fd = syscall(SYS_openat2, dir_fd, path.c_str(), &how, sizeof how);
    if (fd >= 0) return UniqueFd(static_cast<int>(fd));
    // EAGAIN: a rename raced with a ".." lookup; the kernel asks to try again.
    if (errno != EAGAIN && errno != EINTR) return fail_errno(errno, "open {}", path);
  }
}

Result<std::string> read_fd(int fd, size_t limit) {
  std::string text;
  struct stat st{};
  if (fstat(fd, &st) == 0 && st.st_size > 0)
    text.reserve(std::min<size_t>(limit, static_cast<size_t>(st.st_size)));
  char buffer[16384];
  for (;;) {
    ssize_t n = read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "read");
    if (n == 0) return text;
    if (text.size() + static_cast<size_t>(n) > limit)
      return fail(Code::kResourceExhausted, "more than {} bytes", limit);
    text.append(buffer, static_cast<size_t>(n));
  }
}

Result<std::string> read_file(const Path& path, size_t limit) {
  UniqueFd fd = SKIFF_TRY(open_file(path, O_RDONLY));
  return SKIFF_TRY_WRAP(read_fd(fd.get(), limit), "{}", path.string());
}

Status write_fd(int fd, Bytes bytes) {
  while (!bytes.empty()) {
    ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "write");
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  return ok();
}

Status pwrite_fd(int fd, Bytes bytes, uint64_t offset) {
  while (!bytes.empty()) {
    ssize_t n = pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "write");
    bytes = bytes.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return ok();
}

Result<size_t> pread_fd(int fd, MutableBytes buffer, uint64_t offset) {
  for (;;) {
    ssize_t n = pread(fd, buffer.data(), buffer.size(), static_cast<off_t>(offset));
    if (n >= 0) return static_cast<size_t>(n);
    if (errno != EINTR) return fail_errno(errno, "read");
  }
}

Status write_file(const Path& path, std::string_view text, mode_t mode) {
  UniqueFd fd = SKIFF_TRY(open_file(path, O_WRONLY | O_CREAT | O_TRUNC, mode));
  SKIFF_TRY_WRAP(write_fd(fd.get(), as_bytes(text)), "{}", path.string());
  return ok();
}

Status replace_file(const CrashPoint& point, const Path& path, std::string_view text, mode_t mode,
                    bool sync) {
  Path temporary = path;
  temporary += "." + random_id(6) + ".tmp";
  UniqueFd fd = SKIFF_TRY(open_file(temporary, O_WRONLY | O_CREAT | O_EXCL, mode));
  Status status = write_fd(fd.get(), as_bytes(text));
  if (status && sync) status = sync_fd(point, fd.get(), temporary);
  if (status) status = rename_path(point, temporary, path);
  if (!status) {
    unlink(temporary.c_str());
    return std::unexpected(
        std::move(status).error().wrap(fmt::format("replace {}", path.string())));
  }
  if (!sync) return ok();
  UniqueFd dir = SKIFF_TRY(open_dir(path.parent_path()));
  return sync_fd(point, dir.get(), path.parent_path());
}

Status rename_path(const CrashPoint& point, const Path& from, const Path& to) {
  point.before();
  if (rename(from.c_str(), to.c_str()) != 0)
    return fail_errno(errno, "rename {} to {}", from.string(), to.string());
  point.after();
  return ok();
}

Status sync_fd(const CrashPoint& point, int fd, const Path& name) {
  point.before();
  if (fsync(fd) != 0) return fail_errno(errno, "fsync {}", name.string());
  point.after();
  return ok();
}

Status sync_file_system(const CrashPoint& point, int fd, const Path& name) {
  point.before();
  if (syncfs(fd) != 0) return fail_errno(errno, "syncfs {}", name.string());
  point.after();
  return ok();
}

Status make_dir(const Path& path, mode_t mode) {
  if (mkdir(path.c_str(), mode) != 0) return fail_errno(errno, "make folder {}", path.string());
  return ok();
}

Status make_dirs(const Path& path, mode_t mode) {
  if (mkdir(path.c_str(), mode) == 0 || errno == EEXIST) return ok();
  if (errno != ENOENT || !path.has_parent_path() || path.parent_path() == path)
    return fail_errno(errno, "make folder {}", path.string());
  SKIFF_TRY(make_dirs(path.parent_path(), mode));
  if (mkdir(path.c_str(), mode) != 0 && errno != EEXIST)
    return fail_errno(errno, "make folder {}", path.string());
  return ok();
}

Status remove_file(const Path& path) {
  if (unlink(path.c_str()) != 0 && errno != ENOENT)
    return fail_errno(errno, "remove {}", path.string());
  return ok();
}

Status remove_tree(const Path& path) { return remove_entry(AT_FDCWD, path.c_str(), path); }

bool path_exists(const Path& path) {
  struct stat st{};
  return lstat(path.c_str(), &st) == 0;
}

Result<struct stat> stat_path(const Path& path) {
  struct stat st{};
  if (lstat(path.c_str(), &st) != 0) return fail_errno(errno, "stat {}", path.string());
  return st;
}

Result<std::vector<std::string>> list_dir(const Path& path) {
  UniqueDir dir = SKIFF_TRY(open_dir_stream(AT_FDCWD, path.c_str(), path));
  std::vector<std::string> names;
  while (dirent* entry = readdir(dir.get()))
    if (!is_dot(entry->d_name)) names.emplace_back(entry->d_name);
  return names;
}

Result<Usage> disk_usage(const Path& path) {
  Usage usage;
  std::set<Inode> linked;
  SKIFF_TRY(add_usage(AT_FDCWD, path.c_str(), path, linked, usage));
  return usage;
}

Result<uint64_t> free_bytes(const Path& path) {
  struct statvfs vfs{};
  if (statvfs(path.c_str(), &vfs) != 0) return fail_errno(errno, "statvfs {}", path.string());
  return static_cast<uint64_t>(vfs.f_bavail) * vfs.f_frsize;
}

Result<size_t> FileSource::read(MutableBytes buffer) {
  size_t want = static_cast<size_t>(std::min<uint64_t>(buffer.size(), rest_));
  if (want == 0) return 0;
  size_t n = SKIFF_TRY(pread_fd(fd_.get(), buffer.first(want), offset_));
  offset_ += n;
  rest_ -= n;
  return n;
}

TempDir::TempDir(std::string_view prefix, const Path& parent) {
  const char* tmp = std::getenv("TMPDIR");
  Path base = !parent.empty() ? parent : Path(tmp != nullptr ? tmp : "/tmp");
  std::string name = (base / fmt::format("{}XXXXXX", prefix)).string();
  SKIFF_CHECK(mkdtemp(name.data()) != nullptr, "a temporary folder can be made");
  path_ = name;
}

TempDir::~TempDir() { (void)remove_tree(path_); }

Result<std::string> boot_id() {
  if (const char* id = std::getenv("SKIFF_BOOT_ID")) return std::string(id);
  std::string text = SKIFF_TRY(read_file("/proc/sys/kernel/random/boot_id"));
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

}  // namespace skiff::sys
