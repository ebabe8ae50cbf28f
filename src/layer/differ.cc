#include "layer/differ.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <map>
#include <optional>
#include <vector>

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "codec/tar/writer.h"
#include "layer/inode.h"
#include "layer/names.h"
#include "sys/file.h"

namespace skiff::layer {
namespace {

using codec::tar::Entry;
using codec::tar::EntryType;
using sys::UniqueFd;

constexpr size_t kBufferBytes = 256 << 10;

Result<UniqueFd> open_child(int dir, const std::string& name) {
  UniqueFd fd(openat(dir, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return fail_errno(errno, "open {}", shown(name));
  return fd;
}

Result<struct stat> stat_child(int dir, const std::string& name) {
  struct stat st{};
  if (fstatat(dir, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
    return fail_errno(errno, "stat {}", shown(name));
  return st;
}

Result<std::vector<std::string>> sorted_names(int dir) {
  auto names = SKIFF_TRY(list_names(dir));
  std::ranges::sort(names);
  return names;
}

Result<std::string> link_target(int dir, const std::string& name) {
  char target[PATH_MAX];
  ssize_t n = readlinkat(dir, name.c_str(), target, sizeof target);
  if (n < 0) return fail_errno(errno, "read link {}", shown(name));
  return std::string(target, static_cast<size_t>(n));
}

std::optional<EntryType> type_of(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG: return EntryType::kFile;
    case S_IFDIR: return EntryType::kDirectory;
    case S_IFLNK: return EntryType::kSymlink;
    case S_IFCHR: return EntryType::kCharDevice;
    case S_IFBLK: return EntryType::kBlockDevice;
    case S_IFIFO: return EntryType::kFifo;
    default: return std::nullopt;  // a socket
  }
}

bool same_time(const timespec& a, const timespec& b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

// Writes entries to the tar: an inode's first name in full, its further ones as hard links.
class LayerWriter {
 public:
  explicit LayerWriter(ByteSink& sink) : writer_(sink) {}

  Status add(int dir, const std::string& name, const std::string& path, const struct stat& st) {
    auto type = type_of(st.st_mode);
    if (!type) return ok();
    Entry entry;
    entry.type = *type;
    entry.name = path.empty() ? "./" : path;
    entry.mode = st.st_mode & 07777;
    entry.uid = st.st_uid;
    entry.gid = st.st_gid;
    entry.mtime = {st.st_mtim.tv_sec, static_cast<int32_t>(st.st_mtim.tv_nsec)};
    if (!S_ISDIR(st.st_mode) && st.st_nlink > 1) {
      auto [it, fresh] = first_.try_emplace({st.st_dev, st.st_ino}, path);
      if (!fresh) {
        entry.type = EntryType::kHardLink;
        entry.link_name = it->second;
        return writer_.add(entry);
      }
    }
    entry.xattrs = SKIFF_TRY(list_xattrs(proc_path(Place{dir, name})));
    if (S_ISLNK(st.st_mode)) entry.link_name = SKIFF_TRY(link_target(dir, name));
    if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
      entry.dev_major = major(st.st_rdev);
      entry.dev_minor = minor(st.st_rdev);
    }
    if (!S_ISREG(st.st_mode)) return writer_.add(entry);
    entry.size = static_cast<uint64_t>(st.st_size);
    SKIFF_TRY(writer_.add(entry));
    return add_content(dir, name, entry.size);
  }

  Status whiteout(const std::string& folder, std::string_view name) {
    Entry entry;
    entry.name = join_name(folder, name);
    return writer_.add(entry);
  }

  Status finish() { return writer_.finish(); }

 private:
  Status add_content(int dir, const std::string& name, uint64_t size) {
    UniqueFd fd(openat(dir, name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) return fail_errno(errno, "open {}", shown(name));
    sys::FileSource source(std::move(fd), 0, size);
    while (size > 0) {
      size_t n = SKIFF_TRY(source.read({buffer_.get(), kBufferBytes}));
      if (n == 0) return fail(Code::kDataLoss, "{} became shorter while it was read", shown(name));
      SKIFF_TRY(writer_.write({buffer_.get(), n}));
      size -= n;
    }
    return ok();
  }

  codec::tar::Writer writer_;
  std::map<std::pair<dev_t, ino_t>, std::string> first_;
  std::unique_ptr<std::byte[]> buffer_ = std::make_unique_for_overwrite<std::byte[]>(kBufferBytes);
};

// --- an overlayfs upper ---

class UpperDiff {
 public:
  UpperDiff(const Context& context, LayerWriter& out) : context_(context), out_(out) {}

  // `path` is empty for the root; its own entry is written already.
  Status walk(int dir, const std::string& path) {
    if (SKIFF_TRY(is_opaque(dir))) SKIFF_TRY(out_.whiteout(path, kOpaqueName));
    auto names = SKIFF_TRY(sorted_names(dir));
    for (const std::string& name : names) {
      SKIFF_TRY(context_.check());
      auto st = SKIFF_TRY(stat_child(dir, name));
      if (is_whiteout(st)) {
        SKIFF_TRY(out_.whiteout(path, fmt::format("{}{}", kWhiteoutPrefix, name)));
        continue;
      }
      std::string child = join_name(path, name);
      SKIFF_TRY(out_.add(dir, name, child, st));
      if (!S_ISDIR(st.st_mode)) continue;
      UniqueFd fd = SKIFF_TRY(open_child(dir, name));
      SKIFF_TRY(walk(fd.get(), child));
    }
    return ok();
  }

 private:
  const Context& context_;
  LayerWriter& out_;
};

// --- two trees ---

Result<bool> same_content(int lower, int upper, const std::string& name) {
  auto a = SKIFF_TRY(sys::open_file_at(lower, name, O_RDONLY | O_NOFOLLOW));
  auto b = SKIFF_TRY(sys::open_file_at(upper, name, O_RDONLY | O_NOFOLLOW));
  sys::FileSource first(std::move(a)), second(std::move(b));
  std::vector<std::byte> left(kBufferBytes), right(kBufferBytes);
  for (;;) {
    size_t n = SKIFF_TRY(read_full(first, left));
    size_t m = SKIFF_TRY(read_full(second, right));
    if (n != m || std::memcmp(left.data(), right.data(), n) != 0) return false;
    if (n == 0) return true;
  }
}

class TreeDiff {
 public:
  TreeDiff(const Context& context, LayerWriter& out) : context_(context), out_(out) {}

  // The roots of both trees; `lower` is -1 where there is none.
  Status run(int lower, int upper) {
    struct stat st{}, lower_st{};
    if (fstat(upper, &st) != 0 || (lower >= 0 && fstat(lower, &lower_st) != 0))
      return fail_errno(errno, "stat the root");
    path_.push_back({upper, "", "", st});
    if (lower < 0 || !SKIFF_TRY(same(lower, lower_st, upper, st, ""))) SKIFF_TRY(write_path());
    path_.back().written = true;  // a root that did not change is not listed
    return compare(lower, upper, "");
  }

 private:
  // A directory on the way, written once something in it is.
  struct Level {
    int dir;  // that holds it
    std::string name;
    std::string path;
    struct stat st;
    bool written = false;
  };

  Status write_path() {
    for (Level& level : path_) {
      if (level.written) continue;
      level.written = true;
      SKIFF_TRY(out_.add(level.dir, level.name, level.path, level.st));
    }
    return ok();
  }

  Status compare(int lower, int upper, const std::string& path) {
    std::vector<std::string> before, after;
    if (lower >= 0) before = SKIFF_TRY(sorted_names(lower));
    after = SKIFF_TRY(sorted_names(upper));
    auto old = before.begin();
    for (const std::string& name : after) {
      SKIFF_TRY(context_.check());
      for (; old != before.end() && *old < name; ++old) SKIFF_TRY(remove(path, *old));
      bool both = old != before.end() && *old == name;
      if (both) ++old;
      SKIFF_TRY(visit(both ? lower : -1, upper, name, join_name(path, name)));
    }
    for (; old != before.end(); ++old) SKIFF_TRY(remove(path, *old));
    return ok();
  }

  Status remove(const std::string& path, const std::string& name) {
    SKIFF_TRY(write_path());
    return out_.whiteout(path, fmt::format("{}{}", kWhiteoutPrefix, name));
  }

  // `lower` is -1 where the lower tree has no such name.
  Status visit(int lower, int upper, const std::string& name, const std::string& path) {
    auto st = SKIFF_TRY(stat_child(upper, name));
    struct stat lower_st{};
    if (lower >= 0) lower_st = SKIFF_TRY(stat_child(lower, name));
    bool changed = lower < 0 || !SKIFF_TRY(same(lower, lower_st, upper, st, name));
    if (!S_ISDIR(st.st_mode)) {
      if (!changed) return ok();
      SKIFF_TRY(write_path());
      return out_.add(upper, name, path, st);
    }
    UniqueFd below;
    if (lower >= 0 && S_ISDIR(lower_st.st_mode)) below = SKIFF_TRY(open_child(lower, name));
    UniqueFd fd = SKIFF_TRY(open_child(upper, name));
    path_.push_back({upper, name, path, st});
    if (changed) SKIFF_TRY(write_path());
    SKIFF_TRY(compare(below.get(), fd.get(), path));
    path_.pop_back();
    return ok();
  }

  // An empty name stands for the directories themselves.
  Result<bool> same(int lower, const struct stat& a, int upper, const struct stat& b,
                    const std::string& name) {
    if (a.st_dev == b.st_dev && a.st_ino == b.st_ino) return true;
    if (a.st_mode != b.st_mode || a.st_uid != b.st_uid || a.st_gid != b.st_gid ||
        a.st_rdev != b.st_rdev || !same_time(a.st_mtim, b.st_mtim))
      return false;
    if (!S_ISDIR(a.st_mode) && a.st_size != b.st_size) return false;
    auto xattrs = SKIFF_TRY(list_xattrs(proc_path(Place{lower, name})));
    if (xattrs != SKIFF_TRY(list_xattrs(proc_path(Place{upper, name})))) return false;
    if (S_ISLNK(a.st_mode))
      return SKIFF_TRY(link_target(lower, name)) == SKIFF_TRY(link_target(upper, name));
    // A time with parts of a second was set by a write, and would have changed with the content;
    // one without may have come from an archive.
    if (S_ISREG(a.st_mode) && a.st_mtim.tv_nsec == 0) return same_content(lower, upper, name);
    return true;
  }

  const Context& context_;
  LayerWriter& out_;
  std::vector<Level> path_;
};

class TarDiffer : public Differ {
 public:
  Status diff_upper(const Context& context, const std::string& upper, ByteSink& tar) override {
    UniqueFd root = SKIFF_TRY(sys::open_dir(upper));
    LayerWriter out(tar);
    struct stat st{};
    if (fstat(root.get(), &st) != 0) return fail_errno(errno, "stat {}", upper);
    SKIFF_TRY(out.add(root.get(), "", "", st));
    SKIFF_TRY_WRAP(UpperDiff(context, out).walk(root.get(), ""), "diff {}", upper);
    return out.finish();
  }

  Status diff_trees(const Context& context, const std::string& lower, const std::string& upper,
                    ByteSink& tar) override {
    UniqueFd below;
    if (!lower.empty()) below = SKIFF_TRY(sys::open_dir(lower));
    UniqueFd root = SKIFF_TRY(sys::open_dir(upper));
    LayerWriter out(tar);
    SKIFF_TRY_WRAP(TreeDiff(context, out).run(below.get(), root.get()), "diff {}", upper);
    return out.finish();
  }
};

}  // namespace

std::unique_ptr<Differ> make_tar_differ() { return std::make_unique<TarDiffer>(); }

}  // namespace skiff::layer
