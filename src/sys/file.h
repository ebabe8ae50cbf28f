// Files and folders. Errors carry errno and name the path. Steps that a crash may split (rename,
// sync) take the crash point that stands for them. Thread-safe, as the kernel's calls are.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <sys/stat.h>

#include "base/crash_point.h"
#include "base/error.h"
#include "base/stream.h"
#include "sys/fd.h"

namespace skiff::sys {

using Path = std::filesystem::path;

// open(2) with O_CLOEXEC added.
Result<UniqueFd> open_file(const Path& path, int flags, mode_t mode = 0644);
Result<UniqueFd> open_file_at(int dir_fd, const std::string& name, int flags, mode_t mode = 0644);
// A folder's fd, to be used as the base of the *at calls.
Result<UniqueFd> open_dir(const Path& path);

// How openat2(2) confines a path below `dir_fd`; both refuse magic links.
enum class Confine {
  kBeneath,    // a path or link that leads out is an error (EXDEV)
  kInRoot,     // absolute paths and links resolve as after chroot(2)
  kNoSymlinks  // beneath, and a symlink anywhere is an error (ELOOP)
};
Result<UniqueFd> open_confined(int dir_fd, const std::string& path, int flags, Confine confine,
                               mode_t mode = 0);

Result<std::string> read_file(const Path& path, size_t limit = 64 << 20);
// Reads to the end from the fd's current position.
Result<std::string> read_fd(int fd, size_t limit = 64 << 20);
// Exactly all bytes, or an error.
Status write_fd(int fd, Bytes bytes);
Status pwrite_fd(int fd, Bytes bytes, uint64_t offset);
Result<size_t> pread_fd(int fd, MutableBytes buffer, uint64_t offset);
// Writes beside the target and renames over it: readers see the old or the new, whole. With `sync`
// the file and its folder are on disk before this returns.
Status replace_file(const CrashPoint& point, const Path& path, std::string_view text,
                    mode_t mode = 0644, bool sync = false);
// Creates or truncates; no crash safety. For state that a restart makes anew.
Status write_file(const Path& path, std::string_view text, mode_t mode = 0644);

Status rename_path(const CrashPoint& point, const Path& from, const Path& to);
// fsync(2) of a file or folder.
Status sync_fd(const CrashPoint& point, int fd, const Path& name);
// syncfs(2): everything written to this file system so far is on disk; reports writeback errors
// that happened since `fd` was opened (so keep one fd open from start).
Status sync_file_system(const CrashPoint& point, int fd, const Path& name);

Status make_dir(const Path& path, mode_t mode = 0755);   // EEXIST is an error
Status make_dirs(const Path& path, mode_t mode = 0755);  // like mkdir -p
Status remove_file(const Path& path);                    // a missing file is no error
// Removes a tree without following links or crossing into mounts; a missing one is no error.
Status remove_tree(const Path& path);
bool path_exists(const Path& path);
Result<struct stat> stat_path(const Path& path);  // lstat(2)
// Names in a folder but . and .., in no order.
Result<std::vector<std::string>> list_dir(const Path& path);
// Bytes (allocated blocks) and inodes of a tree, hard links once.
struct Usage {
  uint64_t bytes = 0;
  uint64_t inodes = 0;
};
Result<Usage> disk_usage(const Path& path);
// Bytes that an unprivileged user may still write on the file system that holds `path`.
Result<uint64_t> free_bytes(const Path& path);

// A source that reads an fd (owned) from `offset` on with pread(2), at most `length` bytes.
class FileSource : public ByteSource {
 public:
  explicit FileSource(UniqueFd fd, uint64_t offset = 0, uint64_t length = UINT64_MAX)
      : fd_(std::move(fd)), offset_(offset), rest_(length) {}
  Result<size_t> read(MutableBytes buffer) override;

 private:
  UniqueFd fd_;
  uint64_t offset_;
  uint64_t rest_;
};

// Writes to an fd (not owned) at its position.
class FdSink : public ByteSink {
 public:
  explicit FdSink(int fd) : fd_(fd) {}
  Status write(Bytes bytes) override { return write_fd(fd_, bytes); }

 private:
  int fd_;
};

// A folder of its own, removed with all in it at the end.
class TempDir {
 public:
  // Below `parent` (default $TMPDIR or /tmp), named <prefix>XXXXXX. Crashes when none can be made.
  explicit TempDir(std::string_view prefix = "skiff-", const Path& parent = {});
  ~TempDir();
  TempDir(const TempDir&) = delete;
  const Path& path() const { return path_; }

 private:
  Path path_;
};

// The kernel's boot id (/proc/sys/kernel/random/boot_id); SKIFF_BOOT_ID in the environment replaces
// it, so that tests can play a reboot.
Result<std::string> boot_id();

}  // namespace skiff::sys
