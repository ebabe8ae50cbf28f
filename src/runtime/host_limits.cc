#include "runtime/host_limits.h"

#include <algorithm>
#include <cstdlib>
#include <map>

#include <sys/resource.h>

#include "sys/cgroup.h"

namespace skiff::runtime {
namespace {

uint64_t status_mask(const std::string& status, std::string_view field) {
  size_t at = status.find(field);
  return at == std::string::npos ? UINT64_MAX
                                 : std::strtoull(status.c_str() + at + field.size(), nullptr, 16);
}

HostLimits read_limits() {
  HostLimits limits;
  std::string status = sys::read_file("/proc/self/status").value_or("");
  uint64_t bounding = status_mask(status, "CapBnd:"), effective = status_mask(status, "CapEff:");
  auto all = adjust_capabilities({}, {"ALL"}, {}).value_or(std::vector<std::string>{});
  for (size_t i = 0; i < all.size(); ++i) {
    if (bounding >> i & 1) limits.capabilities.push_back(all[i]);
    if (all[i] == "CAP_SYS_RESOURCE") limits.may_raise = effective >> i & 1;
  }
  limits.oom_score_adj =
      std::atoi(sys::read_file("/proc/self/oom_score_adj").value_or("0").c_str());
  auto cgroups = sys::CgroupHost::detect();
  limits.cgroup_v2 = cgroups && cgroups->mode == sys::CgroupMode::kV2;
  return limits;
}

const std::map<std::string, __rlimit_resource>& rlimit_types() {
  static const std::map<std::string, __rlimit_resource> kTypes = {
      {"RLIMIT_AS", RLIMIT_AS},
      {"RLIMIT_CORE", RLIMIT_CORE},
      {"RLIMIT_CPU", RLIMIT_CPU},
      {"RLIMIT_DATA", RLIMIT_DATA},
      {"RLIMIT_FSIZE", RLIMIT_FSIZE},
      {"RLIMIT_LOCKS", RLIMIT_LOCKS},
      {"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK},
      {"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE},
      {"RLIMIT_NICE", RLIMIT_NICE},
      {"RLIMIT_NOFILE", RLIMIT_NOFILE},
      {"RLIMIT_NPROC", RLIMIT_NPROC},
      {"RLIMIT_RSS", RLIMIT_RSS},
      {"RLIMIT_RTPRIO", RLIMIT_RTPRIO},
      {"RLIMIT_RTTIME", RLIMIT_RTTIME},
      {"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING},
      {"RLIMIT_STACK", RLIMIT_STACK}};
  return kTypes;
}

}  // namespace

const HostLimits& HostLimits::here() {
  static const HostLimits limits = read_limits();
  return limits;
}

Result<SpecRlimit> clamp_rlimit(const HostLimits& host, const SpecRlimit& wanted,
                                std::vector<std::string>& warnings) {
  auto type = rlimit_types().find(wanted.type);
  if (type == rlimit_types().end())
    return fail(Code::kInvalidArgument, "rlimit {:?} does not exist", wanted.type);
  if (wanted.soft > wanted.hard)
    return fail(Code::kInvalidArgument, "{}: the soft limit {} exceeds the hard limit {}",
                wanted.type, wanted.soft, wanted.hard);
  rlimit ours{};
  if (host.may_raise || ::getrlimit(type->second, &ours) != 0 || wanted.hard <= ours.rlim_max)
    return wanted;
  warnings.push_back(fmt::format("{} is limited to {} here, {} was asked for", wanted.type,
                                 ours.rlim_max, wanted.hard));
  return SpecRlimit{wanted.type, std::min<uint64_t>(wanted.soft, ours.rlim_max), ours.rlim_max};
}

int clamp_oom_score(const HostLimits& host, std::optional<int> wanted,
                    std::vector<std::string>& warnings) {
  int score = wanted.value_or(0);
  if (host.may_raise || score >= host.oom_score_adj) return score;
  if (wanted)
    warnings.push_back(
        fmt::format("the OOM score adjustment cannot be below {} here, {} was asked for",
                    host.oom_score_adj, score));
  return host.oom_score_adj;
}

std::vector<std::string> clamp_capabilities(const HostLimits& host, std::vector<std::string> wanted,
                                            std::vector<std::string>& warnings) {
  std::erase_if(wanted, [&](const std::string& name) {
    bool there = std::find(host.capabilities.begin(), host.capabilities.end(), name) !=
                 host.capabilities.end();
    if (!there) warnings.push_back(fmt::format("{} cannot be given here", name));
    return !there;
  });
  return wanted;
}

}  // namespace skiff::runtime
