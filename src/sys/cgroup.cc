#include "sys/cgroup.h"

#include <algorithm>
#include <charconv>
#include <csignal>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>

namespace skiff::sys {
namespace {

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    size_t end = std::min(text.find(separator), text.size());
    if (end > 0) parts.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

// One word to a control file; these take no partial writes and no O_TRUNC.
Status write_control(const Path& file, std::string_view text) {
  UniqueFd fd = SKIFF_TRY(open_file(file, O_WRONLY));
  SKIFF_TRY_WRAP(write_fd(fd.get(), as_bytes(text)), "write {:?} to {}", text, file.native());
  return ok();
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && isspace(static_cast<unsigned char>(text.back()))) text.remove_suffix(1);
  return text;
}

// A new v1 cpuset is empty, and no process may enter an empty one.
Status inherit_cpuset(const Path& hierarchy, const Path& folder) {
  if (folder == hierarchy) return ok();
  SKIFF_TRY(inherit_cpuset(hierarchy, folder.parent_path()));
  for (const char* name : {"cpuset.cpus", "cpuset.mems"}) {
    auto mine = read_file(folder / name);
    if (!mine || !trimmed(*mine).empty()) continue;
    std::string parents = SKIFF_TRY(read_file(folder.parent_path() / name));
    SKIFF_TRY(write_control(folder / name, trimmed(parents)));
  }
  return ok();
}

// On v2 a controller works in a cgroup once all above it have it in subtree_control.
void delegate_controllers(const Path& root, const Path& folder) {
  if (folder == root) return;
  delegate_controllers(root, folder.parent_path());
  auto available = read_file(folder.parent_path() / "cgroup.controllers");
  if (!available) return;
  for (std::string_view name : split(trimmed(*available), ' '))
    // A controller that cannot be delegated (threaded, busy) is simply not there below.
    static_cast<void>(
        write_control(folder.parent_path() / "cgroup.subtree_control", fmt::format("+{}", name)));
}

Status remove_cgroup_folder(const Path& folder) {
  auto names = list_dir(folder);
  if (!names)
    return names.error().is(Code::kNotFound) ? ok() : Status(std::unexpected(names.error()));
  for (const std::string& name : *names) {
    auto info = stat_path(folder / name);
    if (info && S_ISDIR(info->st_mode)) SKIFF_TRY(remove_cgroup_folder(folder / name));
  }
  if (::rmdir(folder.c_str()) != 0 && errno != ENOENT)
    return fail_errno(errno, "remove cgroup {}", folder.native());
  return ok();
}

Status collect_pids(const Path& folder, std::vector<int>& pids) {
  auto procs = read_file(folder / "cgroup.procs");
  if (!procs)
    return procs.error().is(Code::kNotFound) ? ok() : Status(std::unexpected(procs.error()));
  for (std::string_view line : split(*procs, '\n')) {
    int pid = 0;
    std::from_chars(line.data(), line.data() + line.size(), pid);
    if (pid > 0) pids.push_back(pid);
  }
  for (const std::string& name : SKIFF_TRY(list_dir(folder))) {
    auto info = stat_path(folder / name);
    if (info && S_ISDIR(info->st_mode)) SKIFF_TRY(collect_pids(folder / name, pids));
  }
  return ok();
}

// The hierarchy to list processes by: any has them all.
Path process_folder(const CgroupHost& host, const std::string& cgroup) {
  if (host.mode == CgroupMode::kV2) return host.folder("", cgroup);
  for (const char* controller : {"pids", "memory", "devices", "freezer", "cpu"})
    if (host.v1.contains(controller)) return host.folder(controller, cgroup);
  return host.folders(cgroup).front();
}

}  // namespace

std::string_view cgroup_mode_name(CgroupMode mode) {
  switch (mode) {
    case CgroupMode::kV1: return "v1";
    case CgroupMode::kHybrid: return "hybrid";
    case CgroupMode::kV2: return "v2";
  }
  return "unknown";
}

std::map<std::string, uint64_t> parse_flat_keyed(std::string_view text) {
  std::map<std::string, uint64_t> values;
  for (std::string_view line : split(text, '\n')) {
    auto words = split(line, ' ');
    uint64_t value = 0;
    if (words.size() == 2 &&
        std::from_chars(words[1].data(), words[1].data() + words[1].size(), value).ec ==
            std::errc())
      values[std::string(words[0])] = value;
  }
  return values;
}

Result<CgroupHost> CgroupHost::detect() {
  return from_mountinfo(SKIFF_TRY(read_file("/proc/self/mountinfo")));
}

// A line: id parent major:minor root mountpoint options... - type source super-options
Result<CgroupHost> CgroupHost::from_mountinfo(std::string_view mountinfo) {
  CgroupHost host;
  bool v2_at_root = false, v2_elsewhere = false;
  for (std::string_view line : split(mountinfo, '\n')) {
    size_t dash = line.find(" - ");
    if (dash == std::string_view::npos) continue;
    auto left = split(line.substr(0, dash), ' ');
    auto right = split(line.substr(dash + 3), ' ');
    if (left.size() < 5 || right.size() < 3) continue;
    Path at(left[4]);
    if (right[0] == "cgroup2") (at == host.root ? v2_at_root : v2_elsewhere) = true;
    if (right[0] != "cgroup") continue;
    for (std::string_view option : split(right[2], ','))
      if (option != "rw" && option != "ro" && !option.starts_with("release_agent") &&
          option != "xattr" && option != "clone_children" && option != "cpuset_v2_mode")
        host.v1.emplace(option, at);
  }
  if (v2_at_root) {
    host.mode = CgroupMode::kV2;
    host.v1.clear();
    return host;
  }
  if (host.v1.empty())
    return fail(Code::kFailedPrecondition, "no cgroups are mounted at {}", host.root.native());
  host.mode = v2_elsewhere ? CgroupMode::kHybrid : CgroupMode::kV1;
  return host;
}

Path CgroupHost::folder(std::string_view controller, const std::string& cgroup) const {
  std::string relative = cgroup.substr(std::min(cgroup.find_first_not_of('/'), cgroup.size()));
  if (mode == CgroupMode::kV2) return root / relative;
  auto found = v1.find(std::string(controller));
  return (found != v1.end() ? found->second : root / controller) / relative;
}

std::vector<Path> CgroupHost::folders(const std::string& cgroup) const {
  if (mode == CgroupMode::kV2) return {folder("", cgroup)};
  std::vector<Path> result;
  for (const auto& [controller, hierarchy] : v1) {
    Path path = folder(controller, cgroup);
    if (std::find(result.begin(), result.end(), path) == result.end()) result.push_back(path);
  }
  if (mode == CgroupMode::kHybrid)
    result.push_back(root / "unified" /
                     cgroup.substr(std::min(cgroup.find_first_not_of('/'), cgroup.size())));
  return result;
}

Status enter_cgroup(const CgroupHost& host, const std::string& cgroup, int pid) {
  std::string id = std::to_string(pid);
  for (const Path& path : host.folders(cgroup)) {
    SKIFF_TRY(make_dirs(path));
    if (host.mode == CgroupMode::kV2) delegate_controllers(host.root, path);
    auto cpuset = host.v1.find("cpuset");
    if (cpuset != host.v1.end() && path == host.folder("cpuset", cgroup))
      SKIFF_TRY(inherit_cpuset(cpuset->second, path));
    SKIFF_TRY(write_control(path / "cgroup.procs", id));
  }
  return ok();
}

Status remove_cgroup(const CgroupHost& host, const std::string& cgroup) {
  Status first;
  for (const Path& path : host.folders(cgroup)) {
    Status removed = remove_cgroup_folder(path);
    if (!removed && first) first = removed;
  }
  return first;
}

Result<std::vector<int>> cgroup_pids(const CgroupHost& host, const std::string& cgroup) {
  std::vector<int> pids;
  SKIFF_TRY(collect_pids(process_folder(host, cgroup), pids));
  return pids;
}

Status kill_cgroup(const CgroupHost& host, const std::string& cgroup) {
  if (host.mode == CgroupMode::kV2) {
    Status killed = write_control(host.folder("", cgroup) / "cgroup.kill", "1");
    if (killed || !killed.error().is(Code::kNotFound)) return killed;
  }
  for (int pid : SKIFF_TRY(cgroup_pids(host, cgroup)))
    if (::kill(pid, SIGKILL) != 0 && errno != ESRCH) return fail_errno(errno, "kill {}", pid);
  return ok();
}

Result<uint64_t> oom_kills(const CgroupHost& host, const std::string& cgroup) {
  Path file = host.folder("memory", cgroup) /
              (host.mode == CgroupMode::kV2 ? "memory.events" : "memory.oom_control");
  auto text = SKIFF_TRY(read_file(file));
  return parse_flat_keyed(text)["oom_kill"];
}

Result<UniqueFd> watch_oom(const CgroupHost& host, const std::string& cgroup) {
  Path folder = host.folder("memory", cgroup);
  if (host.mode == CgroupMode::kV2) {
    UniqueFd watch(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (!watch) return fail_errno(errno, "make an inotify descriptor");
    if (::inotify_add_watch(watch.get(), (folder / "memory.events").c_str(), IN_MODIFY) < 0)
      return fail_errno(errno, "watch {}/memory.events", folder.native());
    return watch;
  }
  UniqueFd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event) return fail_errno(errno, "make an eventfd");
  UniqueFd control = SKIFF_TRY(open_file(folder / "memory.oom_control", O_RDONLY));
  SKIFF_TRY(write_control(folder / "cgroup.event_control",
                          fmt::format("{} {}", event.get(), control.get())));
  return event;
}

}  // namespace skiff::sys
