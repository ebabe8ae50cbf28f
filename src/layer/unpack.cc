#include "layer/unpack.h"

#include <algorithm>
#include <cerrno>
#include <map>
#include <unordered_set>

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "codec/tar/reader.h"
#include "layer/inode.h"
#include "layer/names.h"
#include "layer/tree.h"
#include "sys/file.h"

namespace skiff::layer {
namespace {

using codec::tar::Entry;
using codec::tar::EntryType;
using sys::UniqueFd;

struct Times {
  timespec access;
  timespec modify;
};

Times times_of(const Entry& entry) {
  timespec modify = to_timespec(entry.mtime);
  return {entry.atime ? to_timespec(*entry.atime) : modify, modify};
}

// Of this process; umask(2) itself cannot be asked without changing it for all threads.
mode_t current_umask() {
  auto status = sys::read_file("/proc/self/status");
  auto at = status ? status->find("\nUmask:") : std::string::npos;
  if (at == std::string::npos) return 0777;  // then every mode is set by chmod
  return static_cast<mode_t>(std::strtoul(status->c_str() + at + 7, nullptr, 8));
}

class Unpacker : private Tree::Watcher {
 public:
  Unpacker(const Context& context, codec::Window& tar, int root, const ApplyOptions& options,
           StagedLayer::Records* records)
      : context_(context),
        options_(options),
        records_(records),
        reader_(tar, {.entries = options.limits.entries,
                      .file_bytes = options.limits.file_bytes,
                      .total_bytes = options.limits.bytes}),
        root_(root),
        tree_(root, records != nullptr, *this),
        umask_(current_umask()),
        uid_(geteuid()),
        gid_(getegid()) {
    if (records_ != nullptr) records_->implicit[""].needed = true;
  }

  Result<ApplyStats> run() {
    while (const Entry* entry = SKIFF_TRY(reader_.next())) {
      SKIFF_TRY(context_.check());
      ++stats_.entries;
      tree_.trim();
      Status applied = apply(*entry);
      if (applied) continue;
      Error error =
          std::move(applied).error().wrap(fmt::format("layer entry \"{}\"", shown(entry->name)));
      // With the lowers below, what this entry met could be something else.
      if (records_ == nullptr || !error.is(Code::kInvalidArgument) || !records_->any_replaced())
        return std::unexpected(std::move(error));
      records_->refusal = std::move(error);
      break;
    }
    SKIFF_TRY(set_directory_times());
    return stats_;
  }

 private:
  // --- Tree::Watcher ---
  void opened(const std::string& path, const struct stat& st) override {
    if (records_ == nullptr) dir_times_.try_emplace(path, Times{st.st_atim, st.st_mtim});
  }
  void made(const std::string& path, bool over_whiteout) override {
    if (records_ == nullptr) {
      dir_times_[path] = Times{};
      return;
    }
    ImplicitDir& dir = records_->implicit[path];
    dir.needed = false;
    bool at_top = path.find('/') == std::string::npos;
    dir.fresh = over_whiteout || (records_->opaque_root && at_top);
    if (over_whiteout) records_->whiteouts.erase(path);
  }
  void followed() override {
    if (records_ != nullptr) records_->followed = true;
  }
  void climbed(const std::string& path) override {
    if (records_ != nullptr && records_->implicit.contains(path)) records_->climbed.insert(path);
  }

  Status apply(const Entry& entry) {
    std::string name = SKIFF_TRY(clean_name(entry.name, options_.limits.path_components));
    auto [parent, base] = split_name(name);
    if (base.starts_with(kWhiteoutPrefix)) return apply_whiteout(parent, base);
    if (name.empty()) return apply_root(entry);
    Dir* dir = SKIFF_TRY(tree_.make(parent));
    touch(*dir);
    std::string base_name(base);
    std::string path = join_name(dir->path, base);
    if (entry.type != EntryType::kDirectory) note_entry(path);
    switch (entry.type) {
      case EntryType::kFile: return make_file(*dir, base_name, path, entry);
      case EntryType::kDirectory: return make_directory(*dir, base_name, path, entry);
      case EntryType::kHardLink: return make_hard_link(*dir, base_name, path, entry);
      case EntryType::kSymlink: return make_symlink(*dir, base_name, path, entry);
      default: return make_node(*dir, base_name, path, entry);
    }
  }

  Status apply_root(const Entry& entry) {
    if (entry.type != EntryType::kDirectory)
      return fail(Code::kInvalidArgument, "the root can only be a directory");
    Dir* dir = SKIFF_TRY(tree_.make(""));
    touch(*dir);
    note_directory("");
    return set_directory(*dir, entry, true);
  }

  // --- bookkeeping ---

  // Something of this layer lies in the directory, so it and its parents are this layer's too.
  void touch(Dir& dir) {
    if (dir.touched) return;
    dir.touched = true;
    for (std::string_view path = dir.path;; path = split_name(path).parent) {
      if (records_ != nullptr) {
        auto it = records_->implicit.find(path);
        if (it != records_->implicit.end()) it->second.needed = true;
      } else if (!touched_.insert(hash_of(path)).second) {
        return;
      }
      if (path.empty()) return;
    }
  }
  // An entry is about to take `path`.
  void note_entry(const std::string& path) {
    if (records_ == nullptr) {
      touched_.insert(hash_of(path));
    } else {
      records_->spend_link(path);
    }
  }
  void note_directory(const std::string& path) {
    note_entry(path);
    if (records_ == nullptr) return;
    auto it = records_->implicit.find(path);
    if (it == records_->implicit.end()) return;
    if (it->second.fresh || path.empty())
      records_->implicit.erase(it);
    else
      it->second.replaced = true;
  }
  static size_t hash_of(std::string_view path) { return std::hash<std::string_view>()(path); }
  bool is_touched(const std::string& path) const { return touched_.contains(hash_of(path)); }

  void forget_times(const std::string& path) {
    dir_times_.erase(path);
    auto range = below(dir_times_, path);
    dir_times_.erase(range.begin(), range.end());
  }

  // Takes away what stands at the place.
  Status remove_existing(Dir& dir, const std::string& base, const std::string& path) {
    struct stat st{};
    if (fstatat(dir.fd.get(), base.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
      return errno == ENOENT ? ok() : fail_errno(errno, "stat");
    // A symlink or directory may stand in the cache.
    if (S_ISLNK(st.st_mode) || S_ISDIR(st.st_mode)) tree_.forget();
    if (S_ISDIR(st.st_mode)) {
      if (records_ != nullptr) records_->drop(path);
      forget_times(path);
      return sys::remove_tree(proc_path(Place{dir.fd.get(), base}));
    }
    if (records_ != nullptr) records_->whiteouts.erase(path);
    if (unlinkat(dir.fd.get(), base.c_str(), 0) != 0) return fail_errno(errno, "replace");
    return ok();
  }

  // Tries `make`, which returns 0, or -1 with errno; where the name is taken, again after clearing
  // it.
  template <typename Make>
  Status create(Dir& dir, const std::string& base, const std::string& path, Make make) {
    if (make() == 0) return ok();
    if (errno != EEXIST) return fail_errno(errno, "create");
    SKIFF_TRY(remove_existing(dir, base, path));
    if (make() == 0) return ok();
    return fail_errno(errno, "create");
  }

  bool needs_chown(const Dir& dir, const Entry& entry) const {
    return dir.setgid || entry.uid != uid_ || entry.gid != gid_;
  }
  // chown(2) takes set-id bits away, and the umask may have taken others.
  bool needs_chmod(const Entry& entry) const { return (entry.mode & (umask_ | 07000)) != 0; }

  Status set_xattrs(const std::string& path, const Entry& entry) {
    for (const auto& xattr : entry.xattrs)
      if (is_host_xattr(xattr.name) || !SKIFF_TRY(set_xattr(path, xattr))) ++stats_.dropped_xattrs;
    return ok();
  }

  // --- one function a type ---

  Status make_file(Dir& dir, const std::string& base, const std::string& path, const Entry& entry) {
    UniqueFd fd;
    SKIFF_TRY(create(dir, base, path, [&] {
      fd.reset(openat(dir.fd.get(), base.c_str(),
                      O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, entry.mode));
      return fd ? 0 : -1;
    }));
    SKIFF_TRY(write_content(fd.get(), entry));
    if (needs_chown(dir, entry) && fchown(fd.get(), entry.uid, entry.gid) != 0)
      return fail_errno(errno, "set owner {}:{}", entry.uid, entry.gid);
    if (needs_chmod(entry) && fchmod(fd.get(), entry.mode) != 0)
      return fail_errno(errno, "set mode");
    if (!entry.xattrs.empty()) SKIFF_TRY(set_xattrs(proc_path(fd.get()), entry));
    Times times = times_of(entry);
    if (futimens(fd.get(), &times.access) != 0) return fail_errno(errno, "set times");
    return ok();
  }

  Status write_content(int fd, const Entry& entry) {
    uint64_t end = 0;
    for (;;) {
      auto piece = SKIFF_TRY(reader_.next_piece());
      if (piece.bytes.empty()) break;
      if (entry.sparse)
        SKIFF_TRY(sys::pwrite_fd(fd, piece.bytes, piece.offset));
      else
        SKIFF_TRY(sys::write_fd(fd, piece.bytes));
      stats_.bytes += piece.bytes.size();
      end = piece.offset + piece.bytes.size();
    }
    if (end < entry.size && ftruncate(fd, static_cast<off_t>(entry.size)) != 0)
      return fail_errno(errno, "set size {}", entry.size);
    return ok();
  }

  Status make_directory(Dir& parent, const std::string& base, const std::string& path,
                        const Entry& entry) {
    auto make = [&] { return mkdirat(parent.fd.get(), base.c_str(), entry.mode & 0777); };
    auto open = [&] {
      return UniqueFd(
          openat(parent.fd.get(), base.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    };
    bool fresh = make() == 0;
    if (!fresh && errno != EEXIST) return fail_errno(errno, "create");
    // In place of a hard link that settle would have made, too.
    bool hides = records_ != nullptr && records_->links.contains(path);
    UniqueFd fd = open();
    if (!fd && !fresh && (errno == ENOTDIR || errno == ELOOP)) {
      SKIFF_TRY(create(parent, base, path, make));
      fresh = hides = true;
      fd = open();
    }
    if (!fd) return fail_errno(errno, "open");
    // The lowers' directory of that name was replaced meanwhile and must not show through.
    if (hides && records_ != nullptr) SKIFF_TRY(mark_opaque(fd.get()));
    note_directory(path);
    bool inherits = parent.setgid;
    Dir* dir = tree_.adopt(path, std::move(fd), false);
    dir->touched = true;
    return set_directory(*dir, entry, !fresh || inherits);
  }

  // `all`: nothing is known of what it has.
  Status set_directory(Dir& dir, const Entry& entry, bool all) {
    int fd = dir.fd.get();
    dir.setgid = (entry.mode & S_ISGID) != 0;
    if ((all || entry.uid != uid_ || entry.gid != gid_) && fchown(fd, entry.uid, entry.gid) != 0)
      return fail_errno(errno, "set owner {}:{}", entry.uid, entry.gid);
    if ((all || needs_chmod(entry)) && fchmod(fd, entry.mode) != 0)
      return fail_errno(errno, "set mode");
    if (all)
      SKIFF_TRY(replace_xattrs(proc_path(fd), entry.xattrs, stats_.dropped_xattrs));
    else if (!entry.xattrs.empty())
      SKIFF_TRY(set_xattrs(proc_path(fd), entry));
    dir_times_[dir.path] = times_of(entry);
    return ok();
  }

  Status make_hard_link(Dir& dir, const std::string& base, const std::string& path,
                        const Entry& entry) {
    std::string target =
        SKIFF_TRY_WRAP(clean_name(entry.link_name, options_.limits.path_components),
                       "hard link target \"{}\"", shown(entry.link_name));
    if (target.empty()) return fail(Code::kInvalidArgument, "a hard link to the root");
    auto [target_parent, target_view] = split_name(target);
    std::string target_base(target_view);
    Dir* target_dir = SKIFF_TRY(tree_.find(target_parent));
    struct stat st{};
    bool there = target_dir != nullptr &&
                 fstatat(target_dir->fd.get(), target_base.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0;
    // A directory without an entry may be something else in the lowers.
    if (there && records_ != nullptr && S_ISDIR(st.st_mode) &&
        records_->implicit.contains(join_name(target_dir->path, target_base)))
      there = false;
    if (there && S_ISDIR(st.st_mode))
      return fail(Code::kInvalidArgument, "a hard link to the directory \"{}\"", shown(target));
    if (there && target_dir == &dir && target_base == base)
      return fail(Code::kInvalidArgument, "a hard link to itself");
    if (there && records_ != nullptr && is_whiteout(st))
      return fail(Code::kInvalidArgument, "hard link target \"{}\" was removed by this layer",
                  shown(target));
    if (!there && records_ != nullptr)
      return defer_hard_link(dir, base, path, target_parent, target_base);
    if (!there)
      return fail(Code::kInvalidArgument, "hard link target \"{}\" does not exist", shown(target));
    return create(dir, base, path, [&] {
      return linkat(target_dir->fd.get(), target_base.c_str(), dir.fd.get(), base.c_str(), 0);
    });
  }

  // The target can only be in the lowers; settle makes the link.
  Status defer_hard_link(Dir& dir, const std::string& base, const std::string& path,
                         std::string_view target_parent, const std::string& target_base) {
    std::string target =
        join_name(SKIFF_TRY_WRAP(tree_.locate(target_parent), "hard link target"), target_base);
    if (target == path) return fail(Code::kInvalidArgument, "a hard link to itself");
    SKIFF_TRY(remove_existing(dir, base, path));
    auto pending = records_->links.find(target);
    std::string final_target = pending != records_->links.end() ? pending->second : target;
    records_->spend_link(path);
    records_->links.emplace(path, std::move(final_target));
    return ok();
  }

  Status make_symlink(Dir& dir, const std::string& base, const std::string& path,
                      const Entry& entry) {
    SKIFF_TRY(create(dir, base, path, [&] {
      return symlinkat(entry.link_name.c_str(), dir.fd.get(), base.c_str());
    }));
    return set_node(dir, base, entry, false);
  }

  Status make_node(Dir& dir, const std::string& base, const std::string& path, const Entry& entry) {
    mode_t type = entry.type == EntryType::kFifo         ? S_IFIFO
                  : entry.type == EntryType::kCharDevice ? S_IFCHR
                                                         : S_IFBLK;
    dev_t device = type == S_IFIFO ? 0 : makedev(entry.dev_major, entry.dev_minor);
    if (type != S_IFIFO && !options_.allow_devices)
      return fail(Code::kPermissionDenied, "a {} is not allowed here",
                  codec::tar::entry_type_name(entry.type));
    if (type == S_IFCHR && device == 0)
      return fail(Code::kInvalidArgument,
                  "a character device 0,0, which would be a whiteout to the kernel");
    SKIFF_TRY(create(dir, base, path, [&] {
      return mknodat(dir.fd.get(), base.c_str(), type | entry.mode, device);
    }));
    return set_node(dir, base, entry, needs_chmod(entry));
  }

  // Owner, mode, xattrs and times of what has no fd.
  Status set_node(Dir& dir, const std::string& base, const Entry& entry, bool chmod) {
    int fd = dir.fd.get();
    if (needs_chown(dir, entry) &&
        fchownat(fd, base.c_str(), entry.uid, entry.gid, AT_SYMLINK_NOFOLLOW) != 0)
      return fail_errno(errno, "set owner {}:{}", entry.uid, entry.gid);
    if (chmod && fchmodat(fd, base.c_str(), entry.mode, 0) != 0)
      return fail_errno(errno, "set mode");
    if (!entry.xattrs.empty()) SKIFF_TRY(set_xattrs(proc_path(Place{fd, base}), entry));
    Times times = times_of(entry);
    if (utimensat(fd, base.c_str(), &times.access, AT_SYMLINK_NOFOLLOW) != 0)
      return fail_errno(errno, "set times");
    return ok();
  }

  // --- whiteouts ---

  Status apply_whiteout(std::string_view parent, std::string_view base) {
    bool opaque = base == kOpaqueName;
    if (!opaque && base.starts_with(kAufsPrefix)) return ok();
    std::string victim(base.substr(kWhiteoutPrefix.size()));
    if (!opaque && (victim.empty() || victim == "." || victim == ".."))
      return fail(Code::kInvalidArgument, "a whiteout that names nothing");
    if (records_ == nullptr) {
      Dir* dir = SKIFF_TRY(tree_.find(parent));
      if (dir == nullptr) return ok();
      return opaque ? remove_lower_content(dir->fd.get(), dir->path)
                    : remove_lower(dir->fd.get(), victim, join_name(dir->path, victim));
    }
    Dir* dir = SKIFF_TRY(tree_.make(parent));
    if (!opaque) return put_whiteout(*dir, victim);
    note_hidden(dir->path, false);
    if (!dir->path.empty()) return mark_opaque(dir->fd.get());
    records_->opaque_root = true;
    return ok();
  }

  // Overlay form: the lowers' content of `path` is hidden only now; a directory below it that
  // entries went through before has already taken what the lowers have for it.
  void note_hidden(const std::string& path, bool itself) {
    if (!records_->tangle.empty()) return;
    auto note = [&](const std::string& name, const ImplicitDir& dir) {
      if (!dir.fresh)
        records_->tangle = fmt::format("\"{}\" is used and then hidden by a whiteout", shown(name));
    };
    if (auto it = records_->implicit.find(path); itself && it != records_->implicit.end())
      note(path, it->second);
    for (const auto& [name, dir] : below(records_->implicit, path))
      if (!name.empty()) note(name, dir);
  }

  // Overlay form. What this layer has of that name stays; if it is a directory, alone.
  Status put_whiteout(Dir& dir, const std::string& victim) {
    std::string path = join_name(dir.path, victim);
    if (records_->links.contains(path)) return ok();
    if (mknodat(dir.fd.get(), victim.c_str(), S_IFCHR, makedev(0, 0)) == 0) {
      records_->whiteouts.insert(std::move(path));
      return ok();
    }
    if (errno != EEXIST) return fail_errno(errno, "create a whiteout");
    UniqueFd there(
        openat(dir.fd.get(), victim.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!there) return ok();
    note_hidden(path, true);
    return mark_opaque(there.get());
  }

  // Mounted form. Removes what does not belong to this layer.
  Status remove_lower(int dir, const std::string& base, const std::string& path) {
    struct stat st{};
    if (fstatat(dir, base.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
      return errno == ENOENT ? ok() : fail_errno(errno, "stat {}", shown(path));
    if (is_touched(path)) {
      if (!S_ISDIR(st.st_mode)) return ok();
      UniqueFd fd(openat(dir, base.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (!fd) return fail_errno(errno, "open {}", shown(path));
      opened(path, st);
      return remove_lower_content(fd.get(), path);
    }
    tree_.forget();
    forget_times(path);
    return sys::remove_tree(proc_path(Place{dir, base}));
  }

  Status remove_lower_content(int dir, const std::string& path) {
    auto names = SKIFF_TRY(list_names(dir));
    for (const std::string& name : names) SKIFF_TRY(remove_lower(dir, name, join_name(path, name)));
    return ok();
  }

  // At the end, since each entry changes the time of the directory it lies in.
  Status set_directory_times() {
    for (const auto& [path, times] : dir_times_) {
      auto fd = sys::open_confined(root_, path.empty() ? "." : path, O_RDONLY | O_DIRECTORY,
                                   sys::Confine::kNoSymlinks);
      if (!fd) {
        int code = fd.error().sys_errno();
        if (code == ENOENT || code == ENOTDIR || code == ELOOP) continue;  // replaced later
        return std::unexpected(std::move(fd).error());
      }
      struct stat st{};
      // On an overlay mount setting a time copies the directory up: only where it has changed.
      if (fstat(fd->get(), &st) == 0 && st.st_mtim.tv_sec == times.modify.tv_sec &&
          st.st_mtim.tv_nsec == times.modify.tv_nsec)
        continue;
      if (futimens(fd->get(), &times.access) != 0)
        return fail_errno(errno, "set times of {}", shown(path));
    }
    return ok();
  }

  const Context& context_;
  const ApplyOptions& options_;
  StagedLayer::Records* records_;  // null: the mounted form
  codec::tar::Reader reader_;
  int root_;
  Tree tree_;
  mode_t umask_;
  uid_t uid_;
  gid_t gid_;
  ApplyStats stats_;
  std::map<std::string, Times> dir_times_;
  std::unordered_set<size_t>
      touched_;  // mounted form: hashes of this layer's paths and their parents
};

}  // namespace

Result<ApplyStats> unpack(const Context& context, codec::Window& tar, int root,
                          const ApplyOptions& options, StagedLayer::Records* records) {
  return Unpacker(context, tar, root, options, records).run();
}

}  // namespace skiff::layer
