#include "layer/tree.h"

#include <cerrno>
#include <climits>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "layer/inode.h"
#include "layer/names.h"
#include "sys/file.h"

namespace skiff::layer {

using sys::UniqueFd;

namespace {

constexpr size_t kMaxOpen = 192;
constexpr int kMaxLinks = 40;  // as in the kernel's path walk
constexpr int kDirFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

}  // namespace

// One path on its way: where it stands, and the components still to come (last first).
struct Tree::Walk {
  std::vector<std::string> rest;
  std::string path;
  UniqueFd fd;  // of `path`
  int links = 0;
  bool missing = false;

  void push(std::string_view text) {
    size_t at = rest.size();
    while (!text.empty()) {
      auto slash = text.find('/');
      std::string_view part = text.substr(0, slash);
      if (!part.empty() && part != ".")
        rest.emplace(rest.begin() + static_cast<ptrdiff_t>(at), part);
      text.remove_prefix(slash == std::string_view::npos ? text.size() : slash + 1);
    }
  }
};

Tree::Tree(int root, bool overlay, Watcher& watcher)
    : root_(root), overlay_(overlay), watcher_(watcher) {}

Dir* Tree::adopt(std::string path, UniqueFd fd, bool setgid) {
  auto [it, fresh] = dirs_.try_emplace(path);
  it->second.path = std::move(path);
  it->second.fd = std::move(fd);
  it->second.setgid = setgid;
  return &it->second;
}

void Tree::trim() {
  if (!stale_ && dirs_.size() <= kMaxOpen && aliases_.size() <= 8 * kMaxOpen) return;
  stale_ = false;
  last_ = nullptr;
  aliases_.clear();
  dirs_.clear();
}

Result<Dir*> Tree::resolve(std::string_view path, bool create) {
  if (last_ != nullptr && last_->path == path) return last_;
  std::string key(path);
  if (auto it = dirs_.find(key); it != dirs_.end()) return last_ = &it->second;
  if (auto it = aliases_.find(key); it != aliases_.end()) return it->second;
  auto fd = sys::open_confined(root_, key.empty() ? "." : key, O_RDONLY | O_DIRECTORY,
                               sys::Confine::kNoSymlinks);
  if (!fd) {
    Dir* dir = SKIFF_TRY(walk(path, create));
    if (dir != nullptr && dir->path != path) aliases_[key] = dir;
    return dir;
  }
  struct stat st{};
  if (fstat(fd->get(), &st) != 0) return fail_errno(errno, "stat {}", shown(path));
  last_ = adopt(std::move(key), std::move(*fd), (st.st_mode & S_ISGID) != 0);
  watcher_.opened(last_->path, st);
  return last_;
}

Result<Dir*> Tree::walk(std::string_view path, bool create) {
  Walk walk;
  walk.push(path);
  walk.fd =
      SKIFF_TRY(sys::open_confined(root_, ".", O_RDONLY | O_DIRECTORY, sys::Confine::kBeneath));
  while (!walk.rest.empty()) {
    std::string name = std::move(walk.rest.back());
    walk.rest.pop_back();
    SKIFF_TRY(name == ".." ? climb(walk) : step(walk, name, create));
    if (walk.missing) return nullptr;
  }
  if (auto it = dirs_.find(walk.path); it != dirs_.end()) return &it->second;
  struct stat st{};
  if (fstat(walk.fd.get(), &st) != 0) return fail_errno(errno, "stat {}", shown(walk.path));
  Dir* dir = adopt(std::move(walk.path), std::move(walk.fd), (st.st_mode & S_ISGID) != 0);
  watcher_.opened(dir->path, st);
  return dir;
}

Result<std::string> Tree::locate(std::string_view path) {
  Walk walk;
  walk.push(path);
  walk.fd =
      SKIFF_TRY(sys::open_confined(root_, ".", O_RDONLY | O_DIRECTORY, sys::Confine::kBeneath));
  while (!walk.rest.empty()) {
    std::string name = std::move(walk.rest.back());
    walk.rest.pop_back();
    SKIFF_TRY(name == ".." ? climb(walk) : step(walk, name, false));
    if (!walk.missing) continue;
    struct stat st{};
    if (fstatat(walk.fd.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0)
      return fail(Code::kNotFound, "\"{}\" was removed by this layer",
                  shown(join_name(walk.path, name)));
    std::string located = join_name(walk.path, name);
    while (!walk.rest.empty()) {
      located = join_name(located, walk.rest.back());
      walk.rest.pop_back();
    }
    return clean_name(located, PATH_MAX);
  }
  return std::move(walk.path);
}

// One component down.
Status Tree::step(Walk& walk, const std::string& name, bool create) const {
  if (walk.path.size() + 1 + name.size() >= PATH_MAX)
    return fail(Code::kInvalidArgument,
                "the name with its symlinks resolved is longer than {} bytes", PATH_MAX - 1);
  UniqueFd fd(openat(walk.fd.get(), name.c_str(), kDirFlags));
  if (fd) {
    walk.path = join_name(walk.path, name);
    walk.fd = std::move(fd);
    return ok();
  }
  if (errno == ENOENT) {
    if (create) return make_at(walk, name, false);
    walk.missing = true;
    return ok();
  }
  if (errno != ENOTDIR && errno != ELOOP)
    return fail_errno(errno, "open {}", shown(join_name(walk.path, name)));
  struct stat st{};
  if (fstatat(walk.fd.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
    return fail_errno(errno, "stat {}", shown(join_name(walk.path, name)));
  if (S_ISLNK(st.st_mode)) return follow(walk, name);
  if (!overlay_ || !is_whiteout(st))
    return fail(Code::kInvalidArgument, "\"{}\" is not a directory",
                shown(join_name(walk.path, name)));
  if (create) return make_at(walk, name, true);
  walk.missing = true;
  return ok();
}

Status Tree::follow(Walk& walk, const std::string& name) const {
  watcher_.followed();
  if (++walk.links > kMaxLinks)
    return fail(Code::kInvalidArgument, "too many symlinks on the way, the last at \"{}\"",
                shown(join_name(walk.path, name)));
  char target[PATH_MAX];
  ssize_t n = readlinkat(walk.fd.get(), name.c_str(), target, sizeof target);
  if (n < 0) return fail_errno(errno, "read link {}", shown(join_name(walk.path, name)));
  std::string_view text(target, static_cast<size_t>(n));
  if (text.starts_with('/')) {
    walk.path.clear();
    walk.fd =
        SKIFF_TRY(sys::open_confined(root_, ".", O_RDONLY | O_DIRECTORY, sys::Confine::kBeneath));
  }
  walk.push(text);
  return ok();
}

// ".." stops at the root, as after chroot(2).
Status Tree::climb(Walk& walk) const {
  if (walk.path.empty()) return ok();
  watcher_.climbed(walk.path);
  walk.path = split_name(walk.path).parent;
  walk.fd = SKIFF_TRY(sys::open_confined(root_, walk.path.empty() ? "." : walk.path,
                                         O_RDONLY | O_DIRECTORY, sys::Confine::kNoSymlinks));
  return ok();
}

Status Tree::make_at(Walk& walk, const std::string& name, bool over_whiteout) const {
  std::string path = join_name(walk.path, name);
  struct stat st{};
  if (fstat(walk.fd.get(), &st) != 0) return fail_errno(errno, "stat {}", shown(walk.path));
  watcher_.opened(walk.path, st);
  if (over_whiteout && unlinkat(walk.fd.get(), name.c_str(), 0) != 0)
    return fail_errno(errno, "remove {}", shown(path));
  if (mkdirat(walk.fd.get(), name.c_str(), 0755) != 0)
    return fail_errno(errno, "make {}", shown(path));
  UniqueFd fd(openat(walk.fd.get(), name.c_str(), kDirFlags));
  if (!fd) return fail_errno(errno, "open {}", shown(path));
  // Whatever the umask is, and whatever group a set-group-id parent passes on.
  if (fchown(fd.get(), 0, 0) != 0 || fchmod(fd.get(), 0755) != 0)
    return fail_errno(errno, "set owner and mode of {}", shown(path));
  if (over_whiteout) SKIFF_TRY(mark_opaque(fd.get()));
  watcher_.made(path, over_whiteout);
  walk.path = std::move(path);
  walk.fd = std::move(fd);
  return ok();
}

}  // namespace skiff::layer
