// Control groups: v1 (a hierarchy a controller), v2 (one for all), and hybrid hosts that mount
// both. Everything takes the root so that tests can use a tree of their own.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "sys/fd.h"
#include "sys/file.h"

namespace skiff::sys {

enum class CgroupMode {
  kV1,
  kHybrid,  // v1 controllers, and v2 mounted beside them at /sys/fs/cgroup/unified
  kV2,
};
std::string_view cgroup_mode_name(CgroupMode mode);

// The host's hierarchies.
struct CgroupHost {
  CgroupMode mode = CgroupMode::kV2;
  Path root = "/sys/fs/cgroup";
  // v1: controller to the folder of its hierarchy ("memory" -> "/sys/fs/cgroup/memory").
  std::map<std::string, Path> v1;

  // What /sys/fs/cgroup and the mount table (text of /proc/self/mountinfo) say. The mode of pure
  // v2 needs a cgroup2 mounted at the root itself.
  static Result<CgroupHost> detect();
  static Result<CgroupHost> from_mountinfo(std::string_view mountinfo);

  // The folder of `cgroup` ("/skiff/abc") that `controller` governs; on v2 that of all.
  Path folder(std::string_view controller, const std::string& cgroup) const;
  // The folders of `cgroup` in every hierarchy.
  std::vector<Path> folders(const std::string& cgroup) const;
};

// Makes `cgroup` in every hierarchy (v2: delegates its parents' controllers) and moves `pid` (0:
// this process) into it. New v1 cpusets get their parent's cpus and mems, or no process could
// enter.
Status enter_cgroup(const CgroupHost& host, const std::string& cgroup, int pid = 0);
// Removes `cgroup` and those below it in every hierarchy; missing ones are no error.
// FailedPrecondition when a process is in one.
Status remove_cgroup(const CgroupHost& host, const std::string& cgroup);
// Pids in `cgroup` and below it.
Result<std::vector<int>> cgroup_pids(const CgroupHost& host, const std::string& cgroup);
// SIGKILL to all of them (v2: cgroup.kill). They may take a moment to be gone.
Status kill_cgroup(const CgroupHost& host, const std::string& cgroup);

// How often the OOM killer ended a process in `cgroup` or below it; 0 when the kernel does not say.
Result<uint64_t> oom_kills(const CgroupHost& host, const std::string& cgroup);
// A descriptor that becomes ready when the cgroup runs out of memory: v1 an eventfd (EPOLLIN), v2
// an inotify of memory.events (EPOLLIN). Read it empty, then compare oom_kills.
Result<UniqueFd> watch_oom(const CgroupHost& host, const std::string& cgroup);

// "key value" lines, as in memory.stat and cpu.stat.
std::map<std::string, uint64_t> parse_flat_keyed(std::string_view text);

}  // namespace skiff::sys
