#include "sys/copy_tree.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

namespace skiff::sys {
namespace {

// A folder being copied. Names are relative to the two fds.
struct Folder {
  int source;
  int target;
  Path path;  // for messages
};

class TreeCopier {
 public:
  TreeCopier(const Context& context, Folder top) : context_(context), top_(std::move(top)) {}

  Status run() { return copy_folder(top_); }

 private:
  using Inode = std::pair<dev_t, ino_t>;

  Status copy_folder(const Folder& folder) {
    std::unique_ptr<DIR, int (*)(DIR*)> dir(fdopendir(dup(folder.source)), closedir);
    if (!dir) return fail_errno(errno, "read folder {}", folder.path.string());
    rewinddir(dir.get());
    for (;;) {
      SKIFF_TRY(context_.check());
      errno = 0;
      dirent* entry = readdir(dir.get());
      if (entry == nullptr) break;
      std::string_view name = entry->d_name;
      if (name != "." && name != "..") SKIFF_TRY(copy_entry(folder, entry->d_name));
    }
    if (errno != 0) return fail_errno(errno, "read folder {}", folder.path.string());
    struct stat st{};
    if (fstat(folder.source, &st) != 0) return fail_errno(errno, "stat {}", folder.path.string());
    return copy_attributes(folder.source, folder.target, st, folder.path);
  }

  Status copy_entry(const Folder& folder, const char* name) {
    Path path = folder.path / name;
    struct stat st{};
    if (fstatat(folder.source, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
      return fail_errno(errno, "stat {}", path.string());
    if (!S_ISDIR(st.st_mode) && st.st_nlink > 1) {
      auto [first, fresh] = linked_.emplace(Inode{st.st_dev, st.st_ino}, relative(path));
      if (!fresh) return link_again(first->second, folder, name, path);
    }
    switch (st.st_mode & S_IFMT) {
      case S_IFDIR: return copy_subfolder(folder, name, path);
      case S_IFREG: return copy_file(folder, name, st, path);
      case S_IFLNK: return copy_link(folder, name, st, path);
      default: return copy_node(folder, name, st, path);
    }
  }

  std::string relative(const Path& path) const {
    return path.lexically_relative(top_.path).string();
  }

  // `first`, below the top, was made by us, so no link lies on the way.
  Status link_again(const std::string& first, const Folder& folder, const char* name,
                    const Path& path) {
    if (linkat(top_.target, first.c_str(), folder.target, name, 0) != 0)
      return fail_errno(errno, "link {}", path.string());
    return ok();
  }

  Status copy_subfolder(const Folder& folder, const char* name, const Path& path) {
    if (mkdirat(folder.target, name, 0700) != 0)
      return fail_errno(errno, "make folder {}", path.string());
    constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
    UniqueFd source = SKIFF_TRY(open_file_at(folder.source, name, kFlags));
    UniqueFd target = SKIFF_TRY(open_file_at(folder.target, name, kFlags));
    return copy_folder({source.get(), target.get(), path});
  }

  Status copy_file(const Folder& folder, const char* name, const struct stat& st,
                   const Path& path) {
    UniqueFd source = SKIFF_TRY(open_file_at(folder.source, name, O_RDONLY | O_NOFOLLOW));
    UniqueFd target =
        SKIFF_TRY(open_file_at(folder.target, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
    SKIFF_TRY_WRAP(copy_data(source.get(), target.get(), st.st_size), "copy {}", path.string());
    return copy_attributes(source.get(), target.get(), st, path);
  }

  Status copy_data(int source, int target, off_t size) {
    if (size == 0 || ioctl(target, FICLONE, source) == 0) return ok();
    if (ftruncate(target, size) != 0) return fail_errno(errno, "truncate");
    off_t at = 0;
    while (at < size) {
      SKIFF_TRY(context_.check());
      off_t data = lseek(source, at, SEEK_DATA);
      if (data < 0 && errno == ENXIO) return ok();  // a hole up to the end
      if (data < 0) return fail_errno(errno, "seek");
      off_t hole = lseek(source, data, SEEK_HOLE);
      if (hole < 0) return fail_errno(errno, "seek");
      SKIFF_TRY(copy_range(source, target, data, std::min(hole, size)));
      at = hole;
    }
    return ok();
  }

  Status copy_range(int source, int target, off_t from, off_t to) {
    while (from < to) {
      off_t in = from, out = from;
      auto want = static_cast<size_t>(std::min<off_t>(to - from, 64 << 20));
      ssize_t n = copy_file_range(source, &in, target, &out, want, 0);
      if (n < 0 && errno != EXDEV && errno != EOPNOTSUPP && errno != EINVAL && errno != ENOSYS)
        return fail_errno(errno, "write");
      if (n <= 0) return copy_through(source, target, from, to);
      from += n;
    }
    return ok();
  }

  Status copy_through(int source, int target, off_t from, off_t to) {
    constexpr size_t kBuffer = 256 << 10;
    auto buffer = std::make_unique_for_overwrite<std::byte[]>(kBuffer);
    while (from < to) {
      auto want = std::min<size_t>(kBuffer, static_cast<size_t>(to - from));
      size_t n = SKIFF_TRY(pread_fd(source, {buffer.get(), want}, static_cast<uint64_t>(from)));
      if (n == 0) return ok();  // it shrank meanwhile
      SKIFF_TRY(pwrite_fd(target, {buffer.get(), n}, static_cast<uint64_t>(from)));
      from += static_cast<off_t>(n);
    }
    return ok();
  }

  Status copy_link(const Folder& folder, const char* name, const struct stat& st,
                   const Path& path) {
    std::string value(PATH_MAX, '\0');
    ssize_t n = readlinkat(folder.source, name, value.data(), value.size());
    if (n < 0) return fail_errno(errno, "read link {}", path.string());
    value.resize(static_cast<size_t>(n));
    if (symlinkat(value.c_str(), folder.target, name) != 0)
      return fail_errno(errno, "make link {}", path.string());
    return copy_attributes_by_name(folder, name, st, path);
  }

  Status copy_node(const Folder& folder, const char* name, const struct stat& st,
                   const Path& path) {
    if (mknodat(folder.target, name, st.st_mode, st.st_rdev) != 0)
      return fail_errno(errno, "make node {}", path.string());
    return copy_attributes_by_name(folder, name, st, path);
  }

  // For what cannot be opened (links) or should not be (devices).
  Status copy_attributes_by_name(const Folder& folder, const char* name, const struct stat& st,
                                 const Path& path) {
    if (fchownat(folder.target, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) != 0)
      return fail_errno(errno, "change the owner of {}", path.string());
    if (!S_ISLNK(st.st_mode) && fchmodat(folder.target, name, st.st_mode & 07777, 0) != 0)
      return fail_errno(errno, "change the mode of {}", path.string());
    constexpr int kFlags = O_PATH | O_NOFOLLOW;
    UniqueFd source = SKIFF_TRY(open_file_at(folder.source, name, kFlags));
    UniqueFd target = SKIFF_TRY(open_file_at(folder.target, name, kFlags));
    SKIFF_TRY(copy_xattrs(source.get(), target.get(), path));
    timespec times[2] = {st.st_atim, st.st_mtim};
    if (utimensat(folder.target, name, times, AT_SYMLINK_NOFOLLOW) != 0)
      return fail_errno(errno, "set the times of {}", path.string());
    return ok();
  }

  Status copy_attributes(int source, int target, const struct stat& st, const Path& path) {
    // chown(2) clears the set-id bits and the capabilities, so it comes first.
    if (fchown(target, st.st_uid, st.st_gid) != 0)
      return fail_errno(errno, "change the owner of {}", path.string());
    if (fchmod(target, st.st_mode & 07777) != 0)
      return fail_errno(errno, "change the mode of {}", path.string());
    SKIFF_TRY(copy_xattrs(source, target, path));
    timespec times[2] = {st.st_atim, st.st_mtim};
    if (futimens(target, times) != 0)
      return fail_errno(errno, "set the times of {}", path.string());
    return ok();
  }

  // Through /proc, since the fds may be O_PATH ones.
  Status copy_xattrs(int source, int target, const Path& path) {
    std::string from = fmt::format("/proc/self/fd/{}", source);
    std::string to = fmt::format("/proc/self/fd/{}", target);
    ssize_t length = listxattr(from.c_str(), names_, sizeof names_);
    if (length < 0 && errno == ENOTSUP) return ok();
    if (length < 0) return fail_errno(errno, "list the xattrs of {}", path.string());
    for (const char* name = names_; name < names_ + length; name += std::strlen(name) + 1) {
      ssize_t size = getxattr(from.c_str(), name, value_, sizeof value_);
      if (size < 0) return fail_errno(errno, "read xattr {} of {}", name, path.string());
      if (setxattr(to.c_str(), name, value_, static_cast<size_t>(size), 0) != 0)
        return fail_errno(errno, "set xattr {} of {}", name, path.string());
    }
    return ok();
  }

  const Context& context_;
  Folder top_;
  std::map<Inode, std::string> linked_;  // the first name of each file that has several
  char names_[XATTR_LIST_MAX];
  char value_[XATTR_SIZE_MAX];
};

}  // namespace

Status copy_tree(const Context& context, const Path& source, const Path& target) {
  UniqueFd from = SKIFF_TRY(open_dir(source));
  UniqueFd to = SKIFF_TRY(open_dir(target));
  // Its buffers are large for a stack.
  auto copier = std::make_unique<TreeCopier>(context, Folder{from.get(), to.get(), source});
  return copier->run();
}

}  // namespace skiff::sys
