#include "engine/fsck.h"

#include <algorithm>
#include <csignal>
#include <iterator>
#include <map>
#include <set>
#include <thread>

#include "engine/record.h"
#include "metadata/store.h"
#include "runtime/shim_manager.h"
#include "sys/cgroup.h"
#include "sys/mount.h"

namespace skiff::engine {
namespace {

// A container on its way from one state to the next is settled after this.
constexpr auto kSecondLook = std::chrono::milliseconds(500);

struct Known {
  std::map<std::string, Record> containers;  // by "<namespace>/<id>"
  std::set<std::string> rootless;            // of these, those whose snapshot has no row
};

Result<Known> read_rows(const Context& context, metadata::Store& store) {
  Known known;
  SKIFF_TRY(store.read(context, [&](metadata::Reader& reader) -> Status {
    for (const std::string& ns : SKIFF_TRY(metadata::namespaces::list(reader)))
      for (const auto& row : SKIFF_TRY(metadata::containers::list(reader, ns, {}))) {
        auto root = metadata::snapshots::get(reader, ns, row.snapshotter, row.snapshot_key);
        if (!root && !root.error().is(Code::kNotFound))
          return std::unexpected(std::move(root).error());
        if (!root) known.rootless.insert(ns + "/" + row.id);
        known.containers.emplace(ns + "/" + row.id, SKIFF_TRY(from_row(ns, row)));
      }
    return ok();
  }));
  return known;
}

void check_containers(const Known& known, std::vector<Finding>& findings) {
  for (const auto& [key, record] : known.containers) {
    if (record.phase == Phase::kCreating || record.phase == Phase::kRemoving)
      findings.push_back({"container-half-made", key,
                          fmt::format("it is {}; a restart of the daemon finishes that",
                                      phase_name(record.phase))});
    else if (known.rootless.contains(key))
      findings.push_back({"container-snapshot-missing", key, "its root file system has no row"});
    if (record.phase == Phase::kRunning && ::kill(record.pid, 0) != 0)
      findings.push_back(
          {"container-lost", key,
           fmt::format("it is said to run, but there is no process {}", record.pid)});
  }
}

bool runs(const Known& known, const std::string& key) {
  auto found = known.containers.find(key);
  return found != known.containers.end() && found->second.phase == Phase::kRunning;
}

Status check_bundles(const FsckParts& parts, const Known& known, std::vector<Finding>& findings,
                     std::set<sys::Path>& roots) {
  for (const std::string& ns : SKIFF_TRY(parts.shims.list_namespaces())) {
    Context context = Context().with_namespace(ns);
    for (const std::string& id : SKIFF_TRY(parts.shims.list(context))) {
      runtime::Bundle bundle = parts.shims.bundle(context, id);
      if (runs(known, ns + "/" + id)) {
        roots.insert(bundle.rootfs());
      } else {
        findings.push_back(
            {"bundle-stray", bundle.folder().string(), "no running container has it"});
      }
    }
  }
  return ok();
}

Status check_mounts(const FsckParts& parts, const std::set<sys::Path>& roots,
                    std::vector<Finding>& findings) {
  for (const sys::Path& folder : {parts.root, parts.state})
    for (const sys::MountInfo& mount : SKIFF_TRY(sys::mounts_below(folder))) {
      bool is_root = std::ranges::any_of(roots, [&](const sys::Path& root) {
        return mount.target == root || mount.target.starts_with(root.string() + "/");
      });
      // The folder itself may well be a mount of the administrator's.
      if (!is_root && sys::Path(mount.target) != folder)
        findings.push_back(
            {"mount-stray", mount.target,
             fmt::format("a mount of {} that no running container has", mount.type)});
    }
  return ok();
}

Status check_cgroups(const FsckParts& parts, const Known& known, std::vector<Finding>& findings) {
  std::set<std::string> running;
  for (const auto& [key, record] : known.containers)
    if (record.phase == Phase::kRunning) running.insert(record.id);
  sys::CgroupHost host = SKIFF_TRY(sys::CgroupHost::detect());
  std::set<std::string> strays;
  for (const sys::Path& folder : host.folders(parts.cgroup_parent)) {
    auto names = sys::list_dir(folder);
    for (const std::string& name : names.value_or(std::vector<std::string>())) {
      auto st = sys::stat_path(folder / name);
      // Names with an underscore in front are no container's (the shims').
      if (st && S_ISDIR(st->st_mode) && !name.starts_with('_') && !running.contains(name))
        strays.insert(name);
    }
  }
  for (const std::string& name : strays)
    findings.push_back(
        {"cgroup-stray", parts.cgroup_parent + "/" + name, "no running container has it"});
  return ok();
}

Result<std::vector<Finding>> look(const Context& context, const FsckParts& parts, Known& known) {
  std::vector<Finding> findings;
  std::set<sys::Path> roots;
  known = SKIFF_TRY(read_rows(context, parts.store));
  check_containers(known, findings);
  SKIFF_TRY(check_bundles(parts, known, findings, roots));
  SKIFF_TRY(check_mounts(parts, roots, findings));
  SKIFF_TRY(check_cgroups(parts, known, findings));
  return findings;
}

// What both looks found.
void keep_common(std::vector<Finding>& findings, const std::vector<Finding>& second) {
  std::erase_if(findings, [&](const Finding& finding) {
    return std::ranges::none_of(second, [&](const Finding& other) {
      return other.kind == finding.kind && other.subject == finding.subject;
    });
  });
}

Status count(const Context& context, const FsckParts& parts, bool deep, FsckReport& report) {
  std::set<Digest> blobs;
  SKIFF_TRY(parts.store.read(context, [&](metadata::Reader& reader) -> Status {
    for (const std::string& ns : SKIFF_TRY(metadata::namespaces::list(reader)))
      for (const auto& blob : SKIFF_TRY(metadata::blobs::list(reader, ns, {})))
        if (blobs.insert(blob.digest).second && deep) report.hashed_bytes += blob.size;
    for (const std::string& name : parts.snapshotters)
      report.layers += SKIFF_TRY(metadata::snapshots::list_shared(reader, name)).size();
    return ok();
  }));
  report.blobs = blobs.size();
  return ok();
}

}  // namespace

Result<FsckReport> fsck(const Context& context, const FsckParts& parts, bool deep) {
  FsckReport report;
  Known known;
  report.findings = SKIFF_TRY(look(context, parts, known));
  report.containers = known.containers.size();
  if (!report.findings.empty()) {
    std::this_thread::sleep_for(kSecondLook);
    keep_common(report.findings, SKIFF_TRY(look(context, parts, known)));
  }
  for (const FsckParts::Check& check : parts.checks) {
    SKIFF_TRY(context.check());
    std::ranges::move(SKIFF_TRY(check(context, deep)), std::back_inserter(report.findings));
  }
  SKIFF_TRY(count(context, parts, deep, report));
  return report;
}

}  // namespace skiff::engine
