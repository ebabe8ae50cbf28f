#include <chrono>

#include <sys/utsname.h>

#include "bin/skiff/commands.h"
#include "bin/skiff/daemon.h"
#include "bin/skiff/output.h"
#include "bin/skiff/text.h"

namespace skiff::cli {
namespace {

using namespace native;

json::Value to_json(const Lease& lease) {
  json::Value labels = json::Value::object();
  for (const auto& [key, value] : lease.labels) labels.set(key, value);
  json::Value resources = json::Value::array();
  for (const LeaseResource& each : lease.resources)
    resources.push_back(json::Value::object({{"type", each.type}, {"id", each.id}}));
  return json::Value::object({{"id", lease.id},
                              {"created", rfc3339(lease.created)},
                              {"labels", std::move(labels)},
                              {"resources", std::move(resources)}});
}

Result<int> remove_leases(const Global& global, const Daemon& daemon,
                          const std::vector<std::string>& ids) {
  for (const std::string& id : ids) {
    SKIFF_TRY(daemon.call<Empty>(kSystemService, "RemoveLease", RemoveLeaseRequest{id}));
    if (!global.json) print_line("removed " + id);
  }
  return 0;
}

void print_finding(const Finding& finding) {
  print_line(printable(fmt::format("{}: {}: {}", finding.kind, finding.subject, finding.detail)));
}

std::string joined(const std::vector<Snapshotter>& snapshotters) {
  std::string out;
  for (const Snapshotter& each : snapshotters) {
    if (!out.empty()) out += ", ";
    out += each.name + (each.remote ? " (remote)" : "");
  }
  return out;
}

}  // namespace

Result<int> leases(const Global& global, const LeasesOptions& options) {
  Daemon daemon = SKIFF_TRY(Daemon::connect(global));
  if (!options.remove.empty()) return remove_leases(global, daemon, options.remove);
  auto response = SKIFF_TRY(daemon.call<ListLeasesResponse>(kSystemService, "ListLeases",
                                                            ListLeasesRequest{options.filters}));
  if (global.json) {
    json::Value out = json::Value::array();
    for (const Lease& lease : response.leases) out.push_back(to_json(lease));
    print_json(out);
    return 0;
  }
  Table table({"LEASE", "CREATED", "EXPIRES", "HOLDS"});
  int64_t now = now_nanoseconds();
  for (const Lease& lease : response.leases) {
    auto expires = lease.labels.find("containerd.io/gc.expire");
    table.add({lease.id, age(lease.created, now),
               expires == lease.labels.end() ? "never" : expires->second,
               fmt::format("{}", lease.resources.size())});
  }
  print(printable(table.text()));
  return 0;
}

Result<int> collect_garbage(const Global& global) {
  Daemon daemon = SKIFF_TRY(Daemon::connect(global));
  auto stats = SKIFF_TRY(daemon.call<GcResponse>(kSystemService, "Collect", Empty{}));
  if (global.json) {
    print_json(json::Value::object({{"blobs", stats.blobs},
                                    {"snapshots", stats.snapshots},
                                    {"ingests", stats.ingests},
                                    {"leases", stats.leases},
                                    {"mark_nanoseconds", stats.mark_nanos},
                                    {"sweep_nanoseconds", stats.sweep_nanos}}));
    return 0;
  }
  print_line(
      fmt::format("removed {} blobs, {} snapshots, {} ingests, {} leases (mark {}, sweep {})",
                  stats.blobs, stats.snapshots, stats.ingests, stats.leases,
                  human_duration(std::chrono::nanoseconds(stats.mark_nanos)),
                  human_duration(std::chrono::nanoseconds(stats.sweep_nanos))));
  return 0;
}

Result<int> disk_usage(const Global& global) {
  Daemon daemon = SKIFF_TRY(Daemon::connect(global));
  auto response = SKIFF_TRY(daemon.call<DfResponse>(kSystemService, "DiskUsage", Empty{}));
  if (global.json) {
    json::Value kinds = json::Value::array();
    for (const Space& space : response.kinds)
      kinds.push_back(json::Value::object(
          {{"kind", space.kind}, {"count", space.count}, {"bytes", space.bytes}}));
    print_json(
        json::Value::object({{"kinds", std::move(kinds)}, {"free_bytes", response.free_bytes}}));
    return 0;
  }
  Table table({"KIND", "COUNT", "SIZE"});
  for (const Space& space : response.kinds)
    table.add({space.kind, fmt::format("{}", space.count), human_bytes(space.bytes)});
  print(table.text());
  print_line(human_bytes(response.free_bytes) + " free");
  return 0;
}

Result<int> check_store(const Global& global, const FsckOptions& options) {
  Daemon daemon = SKIFF_TRY(Daemon::connect(global));
  auto report =
      SKIFF_TRY(daemon.call<FsckResponse>(kSystemService, "Check", FsckRequest{options.deep}));
  if (global.json) {
    json::Value findings = json::Value::array();
    for (const Finding& each : report.findings)
      findings.push_back(json::Value::object(
          {{"kind", each.kind}, {"subject", each.subject}, {"detail", each.detail}}));
    print_json(json::Value::object({{"findings", std::move(findings)},
                                    {"blobs", report.blobs},
                                    {"layers", report.layers},
                                    {"containers", report.containers},
                                    {"hashed_bytes", report.hashed_bytes}}));
  } else {
    for (const Finding& each : report.findings) print_finding(each);
    std::string hashed =
        options.deep ? fmt::format(", {} hashed", human_bytes(report.hashed_bytes)) : "";
    print_line(fmt::format("{} blobs, {} layers, {} containers checked{}: {}", report.blobs,
                           report.layers, report.containers, hashed,
                           report.findings.empty()
                               ? "no damage"
                               : fmt::format("{} findings", report.findings.size())));
  }
  return report.findings.empty() ? 0 : kFailure;
}

Result<int> info(const Global& global) {
  Daemon daemon = SKIFF_TRY(Daemon::connect(global));
  auto about = SKIFF_TRY(daemon.call<InfoResponse>(kSystemService, "Info", Empty{}));
  if (global.json) {
    json::Value snapshotters = json::Value::array();
    for (const Snapshotter& each : about.snapshotters)
      snapshotters.push_back(json::Value::object({{"name", each.name}, {"remote", each.remote}}));
    print_json(json::Value::object({{"version", about.version},
                                    {"pid", about.pid},
                                    {"root", about.root},
                                    {"state", about.state},
                                    {"snapshotters", std::move(snapshotters)},
                                    {"runtime", about.runtime},
                                    {"runtime_reason", about.runtime_reason},
                                    {"kernel", about.kernel},
                                    {"platform", about.platform},
                                    {"cgroups", about.cgroups},
                                    {"processors", about.processors},
                                    {"memory_bytes", about.memory_bytes},
                                    {"images", about.images},
                                    {"containers", about.containers},
                                    {"containers_running", about.containers_running}}));
    return 0;
  }
  std::string runtime = about.runtime;
  if (!about.runtime_reason.empty()) runtime += " (" + about.runtime_reason + ")";
  const std::pair<std::string_view, std::string> rows[] = {
      {"skiffd", fmt::format("{}, pid {}", about.version, about.pid)},
      {"root", about.root},
      {"state", about.state},
      {"snapshotters", joined(about.snapshotters)},
      {"runtime", runtime},
      {"images", fmt::format("{}", about.images)},
      {"containers", fmt::format("{}, {} running", about.containers, about.containers_running)},
      {"kernel", about.kernel},
      {"platform", about.platform},
      {"cgroups", about.cgroups},
      {"processors", fmt::format("{}", about.processors)},
      {"memory", human_bytes(about.memory_bytes)}};
  for (const auto& [key, value] : rows) print_line(pad(std::string(key) + ":", 15) + value);
  return 0;
}

Result<int> version(const Global& global, const VersionOptions& options) {
  json::Value out = json::Value::object({{"client", SKIFF_VERSION}});
  if (!global.json) print_line("skiff  " SKIFF_VERSION);
  std::optional<Error> unreachable;
  if (!options.client) {
    auto server = [&]() -> Result<VersionResponse> {
      Daemon daemon = SKIFF_TRY(Daemon::connect(global));
      return daemon.call<VersionResponse>(kSystemService, "Version", Empty{});
    }();
    if (server) {
      out.set("server", server->version);
      if (!global.json) print_line("skiffd " + server->version);
    } else {
      unreachable = std::move(server).error();
    }
  }
  if (global.json) print_json(out);
  if (unreachable) return std::unexpected(*unreachable);
  return 0;
}

}  // namespace skiff::cli
