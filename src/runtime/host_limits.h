// What this host lets us give to a container.
#pragma once

#include <string>
#include <vector>

#include "runtime/spec.h"

namespace skiff::runtime {

struct HostLimits {
  std::vector<std::string> capabilities;  // the bounding set
  bool may_raise = true;                  // CAP_SYS_RESOURCE: limits may exceed ours
  int oom_score_adj = 0;                  // ours
  bool cgroup_v2 = false;

  static const HostLimits& here();  // read once
};

// The same rlimit, or a lower one where ours is lower and may not be exceeded; says so in
// `warnings`. InvalidArgument for an unknown type.
Result<SpecRlimit> clamp_rlimit(const HostLimits& host, const SpecRlimit& wanted,
                                std::vector<std::string>& warnings);
int clamp_oom_score(const HostLimits& host, std::optional<int> wanted,
                    std::vector<std::string>& warnings);
std::vector<std::string> clamp_capabilities(const HostLimits& host, std::vector<std::string> wanted,
                                            std::vector<std::string>& warnings);

}  // namespace skiff::runtime
