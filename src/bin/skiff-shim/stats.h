// A container's use of resources, as containerd's clients read it.
#pragma once

#include <string>

#include "sys/cgroup.h"
#include "ttrpc/well_known.h"

namespace skiff::shim {

// io.containerd.cgroups.v1.Metrics or .v2.Metrics: pids, cpu, memory, OOM kills.
Result<ttrpc::Any> read_stats(const sys::CgroupHost& host, const std::string& cgroup);

}  // namespace skiff::shim
