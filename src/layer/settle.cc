#include "layer/settle.h"

#include <cerrno>
#include <climits>
#include <cstdio>
#include <optional>

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "layer/inode.h"
#include "layer/names.h"
#include "layer/stack_view.h"
#include "sys/file.h"

namespace skiff::layer {
namespace {

using sys::UniqueFd;

// Layers of the view from here on are the lowers; 0 is the staging directory itself.
constexpr size_t kLowers = 1;

class Settler {
 public:
  Settler(const Context& context, StagedLayer::Records& records, int staging, StackView view,
          StackView lowers)
      : context_(context),
        records_(records),
        staging_(staging),
        view_(std::move(view)),
        lowers_(std::move(lowers)) {}

  Status run() {
    bool on_lowers = !lowers_.root().empty();
    if (records_.refusal && !on_lowers) return std::unexpected(*records_.refusal);
    if (records_.refusal) return tangled(records_.refusal->message());
    if (!records_.tangle.empty() && on_lowers) return tangled(records_.tangle);
    SKIFF_TRY(check_replaced());
    if (records_.opaque_root) SKIFF_TRY(hide_root());
    SKIFF_TRY(relocate_all());
    SKIFF_TRY(make_links());
    SKIFF_TRY(drop_whiteouts());
    return finish_directories();
  }

 private:
  // Without lowers there is no other outcome.
  std::unexpected<Error> tangled(std::string_view why) const {
    if (lowers_.root().empty()) return fail(Code::kInvalidArgument, "{}", why);
    return fail(Code::kFailedPrecondition, "the layer must be applied onto its parent: {}", why);
  }
  static std::unexpected<Error> not_a_directory(std::string_view path) {
    return fail(Code::kInvalidArgument, "\"{}\" is not a directory in the layers below",
                shown(path));
  }

  Result<UniqueFd> open_staged(const std::string& path) const {
    return sys::open_confined(staging_, path.empty() ? "." : path, O_RDONLY | O_DIRECTORY,
                              sys::Confine::kNoSymlinks);
  }

  // What the lowers have at a path whose parent is a directory in staging.
  Result<Found> lower_self(const std::string& path) {
    auto [parent, base] = split_name(path);
    auto parts = SKIFF_TRY(view_.directory(std::string(parent)));
    return view_.look(parts, std::string(base), kLowers);
  }

  // Directories that entries went through before something else took their place, and those that a
  // symlink's ".." left: had a symlink of the lowers stood there, those entries would lie
  // elsewhere.
  Status check_replaced() {
    for (const auto& [path, dir] : records_.implicit) {
      if (!dir.replaced || dir.fresh || path.empty()) continue;
      if (SKIFF_TRY(was_no_directory(path)))
        return tangled(
            fmt::format("\"{}\" is used through a symlink and then replaced", shown(path)));
    }
    for (const std::string& path : records_.climbed)
      if (SKIFF_TRY(was_no_directory(path)))
        return tangled(
            fmt::format("a symlink leads through \"{}/..\", itself a symlink", shown(path)));
    return ok();
  }

  Result<bool> was_no_directory(const std::string& path) {
    SKIFF_TRY(context_.check());
    auto [parent, base] = split_name(path);
    auto parts = SKIFF_TRY(lowers_.directory(std::string(parent)));
    Found::Kind kind = SKIFF_TRY(lowers_.look(parts, std::string(base))).kind;
    return kind == Found::Kind::kSymlink || kind == Found::Kind::kOther;
  }

  // --- symlinks of the lowers ---

  Status relocate_all() {
    for (const auto& [path, dir] : records_.implicit) todo_.insert(path);
    while (!todo_.empty()) {
      SKIFF_TRY(context_.check());
      std::string path = std::move(todo_.extract(todo_.begin()).value());
      auto it = records_.implicit.find(path);
      if (path.empty() || it == records_.implicit.end() || it->second.fresh || it->second.replaced)
        continue;
      Found found = SKIFF_TRY(lower_self(path));
      if (found.kind == Found::Kind::kOther) return not_a_directory(path);
      if (found.kind == Found::Kind::kSymlink) SKIFF_TRY(relocate(path, found.target));
    }
    return ok();
  }

  // What was staged below `path` belongs where the lowers' symlink of that name leads.
  Status relocate(const std::string& path, const std::string& target) {
    // That symlink would have led elsewhere, had the layer been applied onto the lowers.
    if (records_.followed)
      return tangled(
          fmt::format("\"{}\" and the layer's own symlinks lead through each other", shown(path)));
    std::string to = SKIFF_TRY_WRAP(resolve(std::string(split_name(path).parent), target),
                                    "symlink \"{}\" in the layers below", shown(path));
    SKIFF_TRY(ensure_directory(to, records_.implicit.at(path).needed));
    SKIFF_TRY(merge(path, to));
    view_.forget();
    return ok();
  }

  // Where `target` leads from the directory `at`; its end may be missing. Tangled where the lowers
  // alone and the lowers with this layer on top say different things: then it hangs on the time.
  Result<std::string> resolve(const std::string& at, const std::string& target) {
    auto below = SKIFF_TRY(follow_path(
        at, target, [&](const auto& in, const auto& name, const auto&) -> Result<Found> {
          return lowers_.look(SKIFF_TRY(lowers_.directory(in)), name);
        }));
    auto on_top =
        SKIFF_TRY(follow_path(at, target, [&](const auto& in, const auto& name, const auto& path) {
          return seen_at(in, name, path);
        }));
    if (below && below == on_top) return *std::move(on_top);
    return tangled(fmt::format("\"{}\" from \"{}\" leads through what the layer changes",
                               shown(target), shown(at)));
  }

  // A staged directory without an entry of its own is transparent to a symlink of the lowers.
  Result<Found> seen_at(const std::string& at, const std::string& name, const std::string& path) {
    auto parts = SKIFF_TRY(view_.directory(at));
    auto it = records_.implicit.find(path);
    bool transparent = it != records_.implicit.end() && !it->second.fresh && !it->second.replaced;
    if (transparent) {
      Found lower = SKIFF_TRY(view_.look(parts, name, kLowers));
      if (lower.kind == Found::Kind::kSymlink) return lower;
    }
    return view_.look(parts, name);
  }

  // Makes the staged directory `path` and its parents where they are missing.
  Status ensure_directory(const std::string& path, bool needed) {
    for (size_t end = 0; end < path.size();) {
      end = std::min(path.find('/', end + 1), path.size());
      std::string part = path.substr(0, end);
      auto [parent, base] = split_name(part);
      UniqueFd dir = SKIFF_TRY(open_staged(std::string(parent)));
      KeepTimes keep(dir.get());
      std::string name(base);
      if (mkdirat(dir.get(), name.c_str(), 0755) == 0) {
        records_.implicit[part].needed = needed;
        todo_.insert(part);
        continue;
      }
      if (errno != EEXIST) return fail_errno(errno, "make {}", shown(part));
      struct stat st{};
      if (fstatat(dir.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
        return fail_errno(errno, "stat {}", shown(part));
      if (!S_ISDIR(st.st_mode))
        return tangled(fmt::format("\"{}\" is used through a symlink and changed", shown(part)));
      auto it = records_.implicit.find(part);
      if (it != records_.implicit.end() && needed) it->second.needed = true;
    }
    return ok();
  }

  // Moves all that lies in one staged directory into another, and takes the empty one away.
  Status merge(const std::string& from, const std::string& to) {
    UniqueFd source = SKIFF_TRY(open_staged(from));
    UniqueFd target = SKIFF_TRY(open_staged(to));
    {
      KeepTimes keep(target.get());
      if (SKIFF_TRY(is_opaque(source.get()))) SKIFF_TRY(mark_opaque(target.get()));
      auto names = SKIFF_TRY(list_names(source.get()));
      for (const std::string& name : names)
        SKIFF_TRY(
            move(source.get(), target.get(), name, join_name(from, name), join_name(to, name)));
      SKIFF_TRY(rename_links(from, to, target.get()));
    }
    auto [parent, base] = split_name(from);
    UniqueFd dir = SKIFF_TRY(open_staged(std::string(parent)));
    KeepTimes keep(dir.get());
    if (unlinkat(dir.get(), std::string(base).c_str(), AT_REMOVEDIR) != 0)
      return fail_errno(errno, "remove {}", shown(from));
    records_.implicit.erase(from);
    return ok();
  }

  // Hard links still to be made directly in `from`.
  Status rename_links(const std::string& from, const std::string& to, int target) {
    std::vector<std::string> names;
    for (const auto& [path, unused] : below(records_.links, from))
      names.push_back(path.substr(from.size() + 1));
    for (const std::string& name : names) {
      struct stat st{};
      std::string path = join_name(to, name);
      if (records_.links.contains(path) ||
          fstatat(target, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0)
        return tangled(fmt::format("\"{}\" and \"{}\" are one through a symlink",
                                   shown(join_name(from, name)), shown(path)));
      auto node = records_.links.extract(join_name(from, name));
      node.key() = std::move(path);
      records_.links.insert(std::move(node));
    }
    return ok();
  }

  Status move(int source, int target, const std::string& name, const std::string& from,
              const std::string& to) {
    // no crash point: a staging folder is thrown away by the next start, however far it was settled
    if (renameat2(source, name.c_str(), target, name.c_str(), RENAME_NOREPLACE) == 0) {
      rename_records(from, to);
      return ok();
    }
    if (errno != EEXIST) return fail_errno(errno, "move {} to {}", shown(from), shown(to));
    struct stat from_st{}, to_st{};
    if (fstatat(source, name.c_str(), &from_st, AT_SYMLINK_NOFOLLOW) != 0 ||
        fstatat(target, name.c_str(), &to_st, AT_SYMLINK_NOFOLLOW) != 0)
      return fail_errno(errno, "stat {}", shown(to));
    auto it = records_.implicit.find(from);
    bool plain_directory =
        it != records_.implicit.end() && !it->second.replaced && !it->second.fresh;
    if (S_ISDIR(to_st.st_mode) && plain_directory) {
      if (auto other = records_.implicit.find(to); other != records_.implicit.end())
        other->second.needed |= it->second.needed;
      return merge(from, to);
    }
    if (!is_whiteout(from_st))
      return tangled(
          fmt::format("\"{}\" and \"{}\" are one through a symlink", shown(from), shown(to)));
    // The whiteout is for the lowers' self; what the layer has there itself stays, alone.
    if (S_ISDIR(to_st.st_mode))
      return tangled(fmt::format("\"{}\" is hidden through a symlink and used", shown(to)));
    records_.whiteouts.erase(from);
    if (unlinkat(source, name.c_str(), 0) != 0) return fail_errno(errno, "remove {}", shown(from));
    return ok();
  }

  void rename_records(const std::string& from, const std::string& to) {
    auto renamed = [&](const std::string& path) { return to + path.substr(from.size()); };
    auto each = [&](auto& records, auto change) {
      if (auto it = records.find(from); it != records.end()) change(records.extract(it));
      auto range = below(records, from);
      for (auto it = range.begin(); it != range.end();) change(records.extract(it++));
    };
    std::vector<std::pair<std::string, ImplicitDir>> dirs;
    each(records_.implicit,
         [&](auto node) { dirs.emplace_back(renamed(node.key()), node.mapped()); });
    for (auto& [path, dir] : dirs) {
      todo_.insert(path);
      records_.implicit.insert_or_assign(path, dir);
    }
    std::vector<std::pair<std::string, std::string>> links;
    each(records_.links,
         [&](auto node) { links.emplace_back(renamed(node.key()), node.mapped()); });
    for (auto& [path, target] : links) records_.links.insert_or_assign(path, target);
    std::vector<std::string> whiteouts;
    each(records_.whiteouts, [&](auto node) { whiteouts.push_back(renamed(node.value())); });
    records_.whiteouts.insert(whiteouts.begin(), whiteouts.end());
  }

  // --- hard links into the lowers ---

  Status make_links() {
    std::map<std::string, std::string>
        made;  // target in the lowers -> where staging has that inode
    for (const auto& [path, target] : records_.links) {
      SKIFF_TRY(context_.check());
      auto [parent, base_view] = split_name(target);
      std::string base(base_view);
      std::string in =
          SKIFF_TRY_WRAP(resolve("", std::string(parent)), "hard link \"{}\"", shown(path));
      std::string real = join_name(in, base);
      auto it = made.find(real);
      if (it == made.end()) it = made.emplace(real, SKIFF_TRY(bring(path, target, in, base))).first;
      if (it->second != path) SKIFF_TRY(link(it->second, path));
    }
    for (const std::string& target : records_.spent_targets) {
      std::string in = SKIFF_TRY(resolve("", std::string(split_name(target).parent)));
      auto parts = SKIFF_TRY(lowers_.directory(in));
      Found found = SKIFF_TRY(lowers_.look(parts, std::string(split_name(target).base)));
      if (found.kind == Found::Kind::kNothing || found.kind == Found::Kind::kDirectory)
        return tangled(fmt::format("a replaced hard link led to \"{}\"", shown(target)));
    }
    return ok();
  }

  // Where staging has, or now gets, the file that `link` is to be one with: base in the directory
  // `in`.
  Result<std::string> bring(const std::string& link, const std::string& target,
                            const std::string& in, const std::string& base) {
    std::string real = join_name(in, base);
    auto parts = SKIFF_TRY(view_.directory(in));
    Found lower = SKIFF_TRY(view_.look(parts, base, kLowers));
    Found seen = SKIFF_TRY(view_.look(parts, base));
    bool staged = (seen.kind == Found::Kind::kOther || seen.kind == Found::Kind::kSymlink) &&
                  seen.layer < kLowers;
    // This layer's own file, but reached through a symlink of the lowers.
    if (staged && real != target) {
      if (lower.kind == Found::Kind::kNothing) return real;
      return tangled(fmt::format("hard link \"{}\" leads to \"{}\", which is replaced", shown(link),
                                 shown(real)));
    }
    if (lower.kind == Found::Kind::kNothing && !records_.whiteouts.empty())
      return tangled(fmt::format("hard link \"{}\" leads to \"{}\", which a whiteout may hide",
                                 shown(link), shown(real)));
    if (lower.kind == Found::Kind::kNothing || lower.kind == Found::Kind::kDirectory)
      return fail(Code::kInvalidArgument, "hard link \"{}\": target \"{}\" {}", shown(link),
                  shown(real),
                  lower.kind == Found::Kind::kNothing ? "does not exist" : "is a directory");
    return copy_up(lower, link, in, base);
  }

  // Copies a file of the lowers to its own path in staging, or, where the layer later brought
  // something else there, to the link's.
  Result<std::string> copy_up(const Found& found, const std::string& link, const std::string& in,
                              const std::string& base) {
    SKIFF_TRY(ensure_directory(in, true));
    UniqueFd dir = SKIFF_TRY(open_staged(in));
    {
      KeepTimes keep(dir.get());
      auto copied = copy_inode({found.in->get(), base}, {dir.get(), base});
      if (copied) return join_name(in, base);
      if (!copied.error().is(Code::kAlreadyExists))
        return std::unexpected(std::move(copied).error());
    }
    auto [link_parent, link_base] = split_name(link);
    UniqueFd link_dir = SKIFF_TRY(open_staged(std::string(link_parent)));
    KeepTimes keep(link_dir.get());
    SKIFF_TRY_WRAP(copy_inode({found.in->get(), base}, {link_dir.get(), std::string(link_base)}),
                   "hard link \"{}\"", shown(link));
    return link;
  }

  Status link(const std::string& from, const std::string& to) {
    auto [from_parent, from_base] = split_name(from);
    auto [to_parent, to_base] = split_name(to);
    UniqueFd from_dir = SKIFF_TRY(open_staged(std::string(from_parent)));
    UniqueFd to_dir = SKIFF_TRY(open_staged(std::string(to_parent)));
    KeepTimes keep(to_dir.get());
    if (linkat(from_dir.get(), std::string(from_base).c_str(), to_dir.get(),
               std::string(to_base).c_str(), 0) != 0)
      return fail_errno(errno, "hard link \"{}\"", shown(to));
    return ok();
  }

  // --- whiteouts ---

  // One that hides nothing would show as a device.
  Status drop_whiteouts() {
    for (const std::string& path : records_.whiteouts) {
      SKIFF_TRY(context_.check());
      if (SKIFF_TRY(lower_self(path)).kind != Found::Kind::kNothing) continue;
      auto [parent, base] = split_name(path);
      UniqueFd dir = SKIFF_TRY(open_staged(std::string(parent)));
      KeepTimes keep(dir.get());
      if (unlinkat(dir.get(), std::string(base).c_str(), 0) != 0)
        return fail_errno(errno, "remove the whiteout of {}", shown(path));
    }
    return ok();
  }

  // The kernel takes no opaque mark on the root of a layer: each of the lowers' names is hidden.
  Status hide_root() {
    KeepTimes keep(staging_);
    for (const Part& part : lowers_.root()) {
      auto names = SKIFF_TRY(list_names(part.fd->get()));
      for (const std::string& name : names) {
        if (mknodat(staging_, name.c_str(), S_IFCHR, makedev(0, 0)) == 0) {
          Found found = SKIFF_TRY(lowers_.look(lowers_.root(), name));
          if (found.kind != Found::Kind::kNothing) continue;
          if (unlinkat(staging_, name.c_str(), 0) != 0)
            return fail_errno(errno, "remove {}", shown(name));
          continue;
        }
        if (errno != EEXIST) return fail_errno(errno, "hide {}", shown(name));
        UniqueFd there(
            openat(staging_, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        if (there) SKIFF_TRY(mark_opaque(there.get()));
      }
    }
    return ok();
  }

  // --- directories without an entry ---

  // Children first: what is done to a child changes the time of its parent.
  Status finish_directories() {
    view_.forget();
    for (auto it = records_.implicit.rbegin(); it != records_.implicit.rend(); ++it) {
      const auto& [path, dir] = *it;
      if (dir.replaced) continue;
      SKIFF_TRY(context_.check());
      SKIFF_TRY_WRAP(finish_directory(path, dir), "directory \"{}\"", shown(path));
    }
    return ok();
  }

  Status finish_directory(const std::string& path, const ImplicitDir& dir) {
    Found lower;
    if (path.empty())
      lower.parts = lowers_.root();
    else if (!dir.fresh)
      lower = SKIFF_TRY(lower_self(path));
    UniqueFd fd = SKIFF_TRY(open_staged(path));
    if (!lower.parts.empty())
      return copy_directory_metadata(lower.parts.front().fd->get(), fd.get());
    if (!dir.needed) {
      auto [parent, base] = split_name(path);
      UniqueFd parent_fd = SKIFF_TRY(open_staged(std::string(parent)));
      KeepTimes keep(parent_fd.get());
      std::string name(base);
      if (unlinkat(parent_fd.get(), name.c_str(), AT_REMOVEDIR) == 0)
        return dir.fresh ? hide_again(path, parent_fd.get(), name) : ok();
      if (errno != ENOTEMPTY) return fail_errno(errno, "remove");
    }
    constexpr timespec kEpoch[2] = {};
    if (fchown(fd.get(), 0, 0) != 0 || fchmod(fd.get(), 0755) != 0 ||
        futimens(fd.get(), kEpoch) != 0)
      return fail_errno(errno, "set owner, mode and times");
    return ok();
  }

  // The directory had taken the place of a whiteout.
  Status hide_again(const std::string& path, int parent, const std::string& name) {
    if (SKIFF_TRY(lower_self(path)).kind == Found::Kind::kNothing) return ok();
    if (mknodat(parent, name.c_str(), S_IFCHR, makedev(0, 0)) != 0)
      return fail_errno(errno, "hide");
    return ok();
  }

  const Context& context_;
  StagedLayer::Records& records_;
  int staging_;
  StackView view_;    // the staging directory on the lowers
  StackView lowers_;  // the lowers alone
  std::set<std::string> todo_;
};

}  // namespace

Status inherit_root(int upper, const std::string& lower) {
  UniqueFd fd = SKIFF_TRY(sys::open_dir(lower));
  return copy_directory_metadata(fd.get(), upper);
}

Status settle_layer(const Context& context, StagedLayer::Records& records, int staging,
                    std::span<const std::string> lowers) {
  auto open_all = [&](bool with_staging) -> Result<StackView> {
    std::vector<UniqueFd> fds;
    if (with_staging)
      fds.push_back(SKIFF_TRY(
          sys::open_confined(staging, ".", O_RDONLY | O_DIRECTORY, sys::Confine::kBeneath)));
    for (const std::string& lower : lowers) fds.push_back(SKIFF_TRY(sys::open_dir(lower)));
    return StackView(std::move(fds));
  };
  return Settler(context, records, staging, SKIFF_TRY(open_all(true)), SKIFF_TRY(open_all(false)))
      .run();
}

}  // namespace skiff::layer
