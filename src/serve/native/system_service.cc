#include <thread>

#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <sys/vfs.h>

#include <linux/magic.h>

#include "base/finding.h"
#include "engine/engine.h"
#include "engine/fsck.h"
#include "image/image_service.h"
#include "metadata/gc.h"
#include "metadata/rows.h"
#include "serve/native/api.h"
#include "serve/native/convert.h"
#include "serve/native/services.h"
#include "snapshot/snapshotter.h"
#include "sys/file.h"

namespace skiff::native {
namespace {

const CrashPoint kRemoveLease{"native.lease.remove"};

std::string cgroup_layout() {
  struct statfs root{};
  if (statfs("/sys/fs/cgroup", &root) != 0) return "none";
  if (root.f_type == CGROUP2_SUPER_MAGIC) return "v2";
  struct statfs unified{};
  bool hybrid =
      statfs("/sys/fs/cgroup/unified", &unified) == 0 && unified.f_type == CGROUP2_SUPER_MAGIC;
  return hybrid ? "v1 (hybrid)" : "v1";
}

Result<InfoResponse> info(const Parts& parts, const Context& context) {
  InfoResponse out;
  out.version = parts.about.version;
  out.root = parts.about.root;
  out.state = parts.about.state;
  out.runtime = parts.about.runtime;
  out.runtime_reason = parts.about.runtime_reason;
  utsname names{};
  uname(&names);
  out.kernel = names.release;
  out.platform = oci::Platform::host().str();
  out.cgroups = cgroup_layout();
  for (snapshot::Snapshotter* each : parts.snapshotters)
    out.snapshotters.push_back({each->name(), each->capabilities().remote});
  out.processors = std::thread::hardware_concurrency();
  struct sysinfo memory{};
  if (sysinfo(&memory) == 0) out.memory_bytes = uint64_t{memory.totalram} * memory.mem_unit;
  SKIFF_TRY(parts.store.read(context, [&](metadata::Reader& reader) -> Status {
    out.images = SKIFF_TRY(metadata::images::list(reader, context.name_space(), {})).size();
    return ok();
  }));
  for (const engine::ContainerInfo& each : SKIFF_TRY(parts.engine.list(context, true))) {
    ++out.containers;
    if (each.phase == engine::Phase::kRunning) ++out.containers_running;
  }
  out.pid = getpid();
  return out;
}

Result<ListLeasesResponse> list_leases(const Parts& parts, const Context& context,
                                       const ListLeasesRequest& request) {
  ListLeasesResponse out;
  const std::string& ns = context.name_space();
  SKIFF_TRY(parts.store.read(context, [&](metadata::Reader& reader) -> Status {
    for (metadata::Lease& lease : SKIFF_TRY(metadata::leases::list(reader, ns, request.filters))) {
      Lease message{lease.id, lease.created, std::move(lease.labels), {}};
      for (metadata::LeaseResource& resource :
           SKIFF_TRY(metadata::leases::resources(reader, ns, lease.id)))
        message.resources.push_back({std::move(resource.type), std::move(resource.id)});
      out.leases.push_back(std::move(message));
    }
    return ok();
  }));
  return out;
}

Result<Empty> remove_lease(const Parts& parts, const Context& context,
                           const RemoveLeaseRequest& request) {
  SKIFF_TRY(parts.store.write(
      context, kRemoveLease, metadata::Durability::kDurable, [&](metadata::Transaction& txn) {
        return metadata::leases::remove(txn, context.name_space(), request.id);
      }));
  parts.removed();
  return Empty{};
}

Result<GcResponse> collect(const Parts& parts, const Context& context) {
  auto stats = SKIFF_TRY(parts.collect(context));
  return GcResponse{stats.blobs,  stats.snapshots,    stats.ingests,
                    stats.leases, stats.mark.count(), stats.sweep.count()};
}

Status add_snapshot_space(const Context& context, metadata::Reader& reader,
                          const std::string& snapshotter, DfResponse& out) {
  Space layers{"snapshots/" + snapshotter, 0, 0};
  for (const auto& row :
       SKIFF_TRY(metadata::snapshots::list(reader, context.name_space(), snapshotter, {}))) {
    ++layers.count;
    layers.bytes += row.usage_bytes;
  }
  out.kinds.push_back(std::move(layers));
  return ok();
}

Result<DfResponse> disk_usage(const Parts& parts, const Context& context) {
  DfResponse out;
  out.free_bytes = SKIFF_TRY(sys::free_bytes(parts.about.root));
  SKIFF_TRY(parts.store.read(context, [&](metadata::Reader& reader) -> Status {
    const std::string& ns = context.name_space();
    Space blobs{"content", 0, 0};
    for (const metadata::Blob& blob : SKIFF_TRY(metadata::blobs::list(reader, ns, {}))) {
      ++blobs.count;
      blobs.bytes += blob.size;
    }
    out.kinds.push_back(std::move(blobs));
    Space ingests{"ingests", 0, 0};
    for (const metadata::Ingest& ingest : SKIFF_TRY(metadata::ingests::list(reader, ns))) {
      ++ingests.count;
      ingests.bytes += ingest.offset;
    }
    out.kinds.push_back(std::move(ingests));
    for (snapshot::Snapshotter* each : parts.snapshotters)
      SKIFF_TRY(add_snapshot_space(context, reader, each->name(), out));
    return ok();
  }));
  return out;
}

Result<FsckResponse> fsck(const Parts& parts, const Context& context, const FsckRequest& request) {
  auto report = SKIFF_TRY(parts.fsck(context, request.deep));
  FsckResponse out{{}, report.blobs, report.layers, report.containers, report.hashed_bytes};
  for (skiff::Finding& finding : report.findings)
    out.findings.push_back(
        {std::move(finding.kind), std::move(finding.subject), std::move(finding.detail)});
  return out;
}

Result<Empty> login(const Parts& parts, const Context& context, const LoginRequest& request) {
  if (request.credential.host.empty())
    return fail(Code::kInvalidArgument, "login: no registry was named");
  Access access{{request.credential}, request.plain_http, request.skip_verify};
  SKIFF_TRY_WRAP(parts.login(context, request.credential.host, to_access(access)), "log in to {}",
                 request.credential.host);
  return Empty{};
}

}  // namespace

ttrpc::Service system_service(const Parts& parts) {
  ttrpc::Service service(kSystemService);
  service.unary<Empty>("Version", [&parts](const Context&, Empty) -> Result<VersionResponse> {
    return VersionResponse{parts.about.version, {"skiff.v1"}};
  });
  service.unary<Empty>("Info",
                       [&parts](const Context& context, Empty) { return info(parts, context); });
  service.unary<ListLeasesRequest>(
      "ListLeases", [&parts](const Context& context, const ListLeasesRequest& request) {
        return list_leases(parts, context, request);
      });
  service.unary<RemoveLeaseRequest>(
      "RemoveLease", [&parts](const Context& context, const RemoveLeaseRequest& request) {
        return remove_lease(parts, context, request);
      });
  service.unary<Empty>("Collect",
                       [&parts](const Context& context, Empty) { return collect(parts, context); });
  service.unary<Empty>(
      "DiskUsage", [&parts](const Context& context, Empty) { return disk_usage(parts, context); });
  service.unary<FsckRequest>("Check", [&parts](const Context& context, const FsckRequest& request) {
    return fsck(parts, context, request);
  });
  service.unary<LoginRequest>("Login",
                              [&parts](const Context& context, const LoginRequest& request) {
                                return login(parts, context, request);
                              });
  return service;
}

}  // namespace skiff::native
