#include "runtime/user.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include <fcntl.h>

namespace skiff::runtime {
namespace {

constexpr size_t kMaxFile = 16 << 20;

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::optional<uint32_t> as_id(std::string_view text) {
  uint32_t id = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || end != text.data() + text.size() || id == UINT32_MAX) return {};
  return id;
}

// A file of the container's, found as the container would: links resolve within its root.
std::string read_inside(const sys::Path& root, const std::string& path) {
  auto folder = sys::open_dir(root);
  if (!folder) return {};
  auto file = sys::open_confined(folder->get(), path, O_RDONLY | O_NONBLOCK, sys::Confine::kInRoot);
  if (!file) return {};
  return sys::read_fd(file->get(), kMaxFile).value_or("");
}

struct PasswdEntry {
  std::string name;
  uint32_t uid = 0, gid = 0;
  std::string home;
};

// name:password:uid:gid:comment:home:shell
std::optional<PasswdEntry> find_passwd(std::string_view passwd, std::string_view wanted) {
  auto id = as_id(wanted);
  std::optional<PasswdEntry> by_id;
  for (std::string_view line : split(passwd, '\n')) {
    auto fields = split(line, ':');
    if (fields.size() < 4) continue;
    auto uid = as_id(fields[2]), gid = as_id(fields[3]);
    if (!uid || !gid) continue;
    PasswdEntry entry{std::string(fields[0]), *uid, *gid,
                      fields.size() > 5 ? std::string(fields[5]) : ""};
    if (fields[0] == wanted) return entry;  // a name that looks like a number is still a name
    if (id && *uid == *id && !by_id) by_id = entry;
  }
  return by_id;
}

// name:password:gid:members
struct GroupEntry {
  std::string_view name;
  uint32_t gid = 0;
  std::vector<std::string_view> members;
};

std::vector<GroupEntry> parse_groups(std::string_view text) {
  std::vector<GroupEntry> groups;
  for (std::string_view line : split(text, '\n')) {
    auto fields = split(line, ':');
    if (fields.size() < 3) continue;
    auto gid = as_id(fields[2]);
    if (!gid) continue;
    groups.push_back({fields[0], *gid, {}});
    if (fields.size() > 3) groups.back().members = split(fields[3], ',');
  }
  return groups;
}

Result<uint32_t> find_group(const std::vector<GroupEntry>& groups, std::string_view wanted) {
  for (const GroupEntry& group : groups)
    if (group.name == wanted) return group.gid;
  if (auto id = as_id(wanted)) return *id;
  return fail(Code::kInvalidArgument, "group {:?} is not in the container's /etc/group", wanted);
}

}  // namespace

Result<User> resolve_user(const sys::Path& root, const std::string& user,
                          const std::vector<std::string>& additional) {
  size_t colon = user.find(':');
  std::string name = user.substr(0, colon);
  std::string group = colon == std::string::npos ? "" : user.substr(colon + 1);
  if (name.empty()) name = "0";

  User result;
  auto entry = find_passwd(read_inside(root, "etc/passwd"), name);
  if (entry) {
    result.uid = entry->uid;
    result.gid = entry->gid;
    result.home = entry->home;
  } else if (auto id = as_id(name)) {
    result.uid = *id;
  } else {
    return fail(Code::kInvalidArgument, "user {:?} is not in the container's /etc/passwd", name);
  }

  std::string group_text = read_inside(root, "etc/group");
  auto groups = parse_groups(group_text);
  if (!group.empty()) result.gid = SKIFF_TRY(find_group(groups, group));
  if (group.empty() && entry)
    for (const GroupEntry& one : groups)
      if (std::find(one.members.begin(), one.members.end(), entry->name) != one.members.end())
        result.additional_gids.push_back(one.gid);
  for (const std::string& one : additional)
    result.additional_gids.push_back(SKIFF_TRY(find_group(groups, one)));
  std::sort(result.additional_gids.begin(), result.additional_gids.end());
  result.additional_gids.erase(
      std::unique(result.additional_gids.begin(), result.additional_gids.end()),
      result.additional_gids.end());
  return result;
}

}  // namespace skiff::runtime
