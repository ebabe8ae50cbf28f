#include "bin/skiff-shim/stats.h"

#include <cstdlib>

#include "sys/file.h"

namespace skiff::shim {
namespace {

// Field numbers from the public metrics messages of containerd's cgroups library.
struct Pids {
  uint64_t current = 0, limit = 0;
  template <class V>
  void fields(V& v) {
    v(1, current);
    v(2, limit);
  }
};
struct UsageV1 {
  uint64_t total = 0, kernel = 0, user = 0;
  template <class V>
  void fields(V& v) {
    v(1, total);
    v(2, kernel);
    v(3, user);
  }
};
struct ThrottleV1 {
  uint64_t periods = 0, throttled_periods = 0, throttled_time = 0;
  template <class V>
  void fields(V& v) {
    v(1, periods);
    v(2, throttled_periods);
    v(3, throttled_time);
  }
};
struct CpuV1 {
  std::optional<UsageV1> usage;
  std::optional<ThrottleV1> throttling;
  template <class V>
  void fields(V& v) {
    v(1, usage);
    v(2, throttling);
  }
};
struct EntryV1 {
  uint64_t limit = 0, usage = 0, max = 0, failcnt = 0;
  template <class V>
  void fields(V& v) {
    v(1, limit);
    v(2, usage);
    v(3, max);
    v(4, failcnt);
  }
};
struct MemoryV1 {
  uint64_t cache = 0, rss = 0, total_inactive_file = 0, total_active_file = 0;
  std::optional<EntryV1> usage, swap;
  template <class V>
  void fields(V& v) {
    v(1, cache);
    v(2, rss);
    v(29, total_inactive_file);
    v(30, total_active_file);
    v(33, usage);
    v(34, swap);
  }
};
struct OomV1 {
  uint64_t disabled = 0, under_oom = 0, oom_kill = 0;
  template <class V>
  void fields(V& v) {
    v(1, disabled);
    v(2, under_oom);
    v(3, oom_kill);
  }
};
struct MetricsV1 {
  std::optional<Pids> pids;
  std::optional<CpuV1> cpu;
  std::optional<MemoryV1> memory;
  std::optional<OomV1> oom;
  template <class V>
  void fields(V& v) {
    v(2, pids);
    v(3, cpu);
    v(4, memory);
    v(9, oom);
  }
};

struct CpuV2 {
  uint64_t usage = 0, user = 0, system = 0, periods = 0, throttled = 0, throttled_usec = 0;
  template <class V>
  void fields(V& v) {
    v(1, usage);
    v(2, user);
    v(3, system);
    v(4, periods);
    v(5, throttled);
    v(6, throttled_usec);
  }
};
struct MemoryV2 {
  uint64_t anon = 0, file = 0, inactive_file = 0, active_file = 0, usage = 0, limit = 0;
  uint64_t swap_usage = 0, swap_limit = 0;
  template <class V>
  void fields(V& v) {
    v(1, anon);
    v(2, file);
    v(13, inactive_file);
    v(14, active_file);
    v(32, usage);
    v(33, limit);
    v(34, swap_usage);
    v(35, swap_limit);
  }
};
struct EventsV2 {
  uint64_t low = 0, high = 0, max = 0, oom = 0, oom_kill = 0;
  template <class V>
  void fields(V& v) {
    v(1, low);
    v(2, high);
    v(3, max);
    v(4, oom);
    v(5, oom_kill);
  }
};
struct MetricsV2 {
  std::optional<Pids> pids;
  std::optional<CpuV2> cpu;
  std::optional<MemoryV2> memory;
  std::optional<EventsV2> events;
  template <class V>
  void fields(V& v) {
    v(1, pids);
    v(2, cpu);
    v(4, memory);
    v(8, events);
  }
};

// One number; "max" is the largest, what cannot be read 0.
uint64_t number(const sys::Path& file) {
  std::string text = sys::read_file(file).value_or("0");
  return text.starts_with("max") ? UINT64_MAX : std::strtoull(text.c_str(), nullptr, 10);
}

std::map<std::string, uint64_t> keyed(const sys::Path& file) {
  return sys::parse_flat_keyed(sys::read_file(file).value_or(""));
}

MetricsV1 metrics_v1(const sys::CgroupHost& host, const std::string& cgroup) {
  MetricsV1 metrics;
  auto pids = host.folder("pids", cgroup), memory = host.folder("memory", cgroup);
  auto cpuacct = host.folder("cpuacct", cgroup), cpu = host.folder("cpu", cgroup);
  metrics.pids = {number(pids / "pids.current"), number(pids / "pids.max")};
  auto throttled = keyed(cpu / "cpu.stat");
  metrics.cpu.emplace();
  metrics.cpu->usage = {number(cpuacct / "cpuacct.usage"), number(cpuacct / "cpuacct.usage_sys"),
                        number(cpuacct / "cpuacct.usage_user")};
  metrics.cpu->throttling = {throttled["nr_periods"], throttled["nr_throttled"],
                             throttled["throttled_time"]};
  auto stat = keyed(memory / "memory.stat");
  auto entry = [&](const std::string& prefix) {
    return EntryV1{number(memory / (prefix + ".limit_in_bytes")),
                   number(memory / (prefix + ".usage_in_bytes")),
                   number(memory / (prefix + ".max_usage_in_bytes")),
                   number(memory / (prefix + ".failcnt"))};
  };
  metrics.memory = {
      stat["cache"],   stat["rss"],          stat["total_inactive_file"], stat["total_active_file"],
      entry("memory"), entry("memory.memsw")};
  auto oom = keyed(memory / "memory.oom_control");
  metrics.oom = {oom["oom_kill_disable"], oom["under_oom"], oom["oom_kill"]};
  return metrics;
}

MetricsV2 metrics_v2(const sys::Path& folder) {
  MetricsV2 metrics;
  metrics.pids = {number(folder / "pids.current"), number(folder / "pids.max")};
  auto cpu = keyed(folder / "cpu.stat");
  metrics.cpu = {cpu["usage_usec"], cpu["user_usec"],    cpu["system_usec"],
                 cpu["nr_periods"], cpu["nr_throttled"], cpu["throttled_usec"]};
  auto stat = keyed(folder / "memory.stat");
  metrics.memory = {stat["anon"],
                    stat["file"],
                    stat["inactive_file"],
                    stat["active_file"],
                    number(folder / "memory.current"),
                    number(folder / "memory.max"),
                    number(folder / "memory.swap.current"),
                    number(folder / "memory.swap.max")};
  auto events = keyed(folder / "memory.events");
  metrics.events = {events["low"], events["high"], events["max"], events["oom"],
                    events["oom_kill"]};
  return metrics;
}

}  // namespace

Result<ttrpc::Any> read_stats(const sys::CgroupHost& host, const std::string& cgroup) {
  if (!sys::path_exists(host.folder("memory", cgroup)))
    return fail(Code::kNotFound, "cgroup {} is gone", cgroup);
  if (host.mode == sys::CgroupMode::kV2)
    return ttrpc::Any{"io.containerd.cgroups.v2.Metrics",
                      ttrpc::encode(metrics_v2(host.folder("", cgroup)))};
  return ttrpc::Any{"io.containerd.cgroups.v1.Metrics", ttrpc::encode(metrics_v1(host, cgroup))};
}

}  // namespace skiff::shim
