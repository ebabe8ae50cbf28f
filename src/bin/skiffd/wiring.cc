#include "bin/skiffd/wiring.h"

#include <algorithm>
#include <iterator>

#include <fcntl.h>

#include "base/log.h"
#include "base/version.h"
#include "bin/skiffd/default_credentials.h"
#include "bin/skiffd/process_setup.h"
#include "content/local/local_content_store.h"
#include "engine/engine.h"
#include "engine/fsck.h"
#include "http/client.h"
#include "image/image_service.h"
#include "metadata/check.h"
#include "metadata/confirm.h"
#include "metadata/gc.h"
#include "metadata/store.h"
#include "registry/distribution.h"
#include "registry/login.h"
#include "runtime/shim_manager.h"
#include "serve/native/native.h"
#include "sys/cgroup.h"

namespace skiff::daemon {
namespace {

registry::DistributionOptions distribution_options(const Settings& settings) {
  registry::DistributionOptions options;
  options.hosts_directories = settings.registry.config_path;
  options.timeouts.stall_window = settings.registry.progress_timeout;
  return options;
}

image::ImageService::Parts::Limits limits(const Settings& settings) {
  return {.layer_fetches = static_cast<int>(settings.pull.layer_fetches),
          .unpacks = static_cast<int>(settings.pull.unpacks),
          .connections_per_blob = static_cast<int>(settings.pull.connections_per_blob),
          .piece_bytes = settings.pull.piece_size.bytes,
          .max_layer_bytes = settings.pull.max_layer_size.bytes,
          .max_layer_entries = static_cast<uint64_t>(settings.pull.max_layer_entries),
          .isolated = settings.pull.content_sharing_policy == "isolated"};
}

// What was pulled may not be on the disk and cannot be trusted, now or after a restart.
void note_failed_sync(const Parts& parts, const Error& error) {
  log::error("a sync failed; what it was for is verified or fetched again before it is used",
             {{"error", error}});
  for (const Driver& driver : parts.drivers) {
    if (!driver.find_suspects) continue;
    if (auto found = driver.find_suspects(Context()); !found)
      log::error("layers not looked through", {{"error", found.error()}});
  }
}

Result<std::unique_ptr<metadata::Confirmer>> start_confirmer(const Settings& settings,
                                                             const Parts& parts) {
  std::vector<metadata::Confirmer::FileSystem> systems;
  std::vector<dev_t> seen;
  for (const sys::Path& folder : {sys::Path(settings.root), sys::Path(settings.root) / "content",
                                  sys::Path(settings.root) / "snapshots"}) {
    auto status = sys::stat_path(folder);
    if (!status || std::ranges::find(seen, status->st_dev) != seen.end()) continue;
    seen.push_back(status->st_dev);
    systems.push_back({SKIFF_TRY(sys::open_dir(folder)), folder});
  }
  return metadata::Confirmer::start(
      *parts.store, std::move(systems),
      {.on_failure = [&parts](const Error& error) { note_failed_sync(parts, error); }});
}

Result<sys::Path> layer_folder(const Parts& parts, const metadata::Snapshot& row) {
  for (const Driver& driver : parts.drivers)
    if (driver.layer_folder && driver.snapshotter->name() == row.snapshotter)
      return driver.layer_folder(row.id);
  return fail(Code::kNotFound, "snapshotter {} has no folders here", row.snapshotter);
}

std::string shim_cgroup(const Settings& settings) {
  // No container's id begins with an underscore.
  return settings.runtime.cgroup_parent + "/_shims";
}

Result<std::unique_ptr<engine::Engine>> make_engine(const Settings& settings, Parts& parts) {
  return engine::Engine::create({.store = *parts.store,
                                 .images = *parts.images,
                                 .shims = *parts.shims,
                                 .snapshotters = parts.snapshotters(),
                                 .cgroup_parent = settings.runtime.cgroup_parent,
                                 .files_left = [&parts] { parts.files_left(); }});
}

Status remove_files(const Context& context, Parts& parts, const std::string& kind,
                    const std::string& path) {
  if (kind != "snapshot") return parts.content->remove_files(context, kind, path);
  for (Driver& driver : parts.drivers)
    if (path.starts_with(driver.snapshotter->name() + "/"))
      return driver.remove_files(context, kind, path);
  return fail(Code::kFailedPrecondition, "no snapshotter has {}", path);
}

}  // namespace

Parts::Parts() = default;
Parts::~Parts() = default;

std::vector<snapshot::Snapshotter*> Parts::snapshotters() const {
  std::vector<snapshot::Snapshotter*> all;
  for (const Driver& driver : drivers) all.push_back(driver.snapshotter.get());
  return all;
}

Result<std::unique_ptr<Parts>> wire(const Settings& settings,
                                    std::function<void(const Error&)> store_failed) {
  auto owner = std::make_unique<Parts>();
  Parts& parts = *owner;
  const sys::Path root = settings.root;
  parts.store = SKIFF_TRY(
      metadata::Store::open(root / "metadata.db", {.on_failure = std::move(store_failed)}));
  parts.content = SKIFF_TRY(content::LocalContentStore::open(
      *parts.store, {.root = root, .reserve_bytes = settings.pull.free_space_reserve.bytes}));
  parts.drivers = SKIFF_TRY(open_drivers(settings, *parts.store));
  parts.http = std::make_unique<http::Client>(
      http::Client::Options{.user_agent = std::string("skiff/") + kVersion});
  parts.resolver =
      registry::make_distribution_resolver(*parts.http, distribution_options(settings));
  if (const std::string& file = settings.registry.credentials_file; !file.empty())
    parts.resolver = with_default_credentials(std::move(parts.resolver), file);
  parts.confirmer = SKIFF_TRY(start_confirmer(settings, parts));
  parts.images = image::ImageService::create(
      {.store = *parts.store,
       .content = *parts.content,
       .resolver = *parts.resolver,
       .snapshotters = parts.snapshotters(),
       .limits = limits(settings),
       .mount_dir = sys::Path(settings.state) / "mounts",
       .layer_folder = [&parts](const metadata::Snapshot& row) { return layer_folder(parts, row); },
       .note_written =
           [&parts] {
             parts.confirmer->note_written();
             release_memory_soon();
           }});
  parts.shims = SKIFF_TRY(runtime::ShimManager::create({.state = settings.state,
                                                        .shim_program = settings.runtime.shim,
                                                        .runtime = settings.runtime.name,
                                                        .shim_cgroup = shim_cgroup(settings)}));
  parts.engine = SKIFF_TRY(make_engine(settings, parts));
  return owner;
}

Status recover(Parts& parts) {
  Context context;
  auto content = SKIFF_TRY_WRAP(parts.content->recover(context), "recover content");
  for (const Digest& lost : content.blobs_lost)
    log::warning("blob lost in a crash; to be fetched again", {{"digest", lost.str()}});
  for (Driver& driver : parts.drivers)
    SKIFF_TRY_WRAP(driver.recover(context), "recover snapshotter {}", driver.snapshotter->name());
  if (auto swept = sweep(context, parts); !swept)
    log::warning("not all that was removed is off the disk", {{"error", swept.error()}});
  SKIFF_TRY_WRAP(parts.images->recover(context), "recover images");
  SKIFF_TRY_WRAP(parts.engine->recover(context), "recover containers");
  return ok();
}

Status sweep(const Context& context, Parts& parts) {
  return metadata::sweep_tombstones(context, *parts.store,
                                    [&](const std::string& kind, const std::string& path) {
                                      return remove_files(context, parts, kind, path);
                                    });
}

Result<metadata::GcStats> collect(const Context& context, Parts& parts) {
  auto stats = SKIFF_TRY(metadata::collect(context, *parts.store));
  SKIFF_TRY(sweep(context, parts));
  return stats;
}

Result<engine::FsckReport> fsck(const Context& context, Parts& parts, const Settings& settings,
                                bool deep) {
  engine::FsckParts what{.store = *parts.store,
                         .shims = *parts.shims,
                         .root = settings.root,
                         .state = settings.state,
                         .cgroup_parent = settings.runtime.cgroup_parent};
  what.checks = {[&](const Context& ctx, bool) { return metadata::check(ctx, *parts.store); },
                 [&](const Context& ctx, bool deeply) { return parts.content->fsck(ctx, deeply); }};
  for (Driver& driver : parts.drivers) {
    what.snapshotters.push_back(driver.snapshotter->name());
    what.checks.push_back([&driver](const Context& ctx, bool) { return driver.fsck(ctx); });
  }
  return engine::fsck(context, what, deep);
}

native::Parts native_parts(Parts& parts, const Settings& settings, std::function<void()> removed) {
  auto runtime = parts.shims->runtime(Context(), "");
  return {.images = *parts.images,
          .engine = *parts.engine,
          .store = *parts.store,
          .snapshotters = parts.snapshotters(),
          .about = {.version = kVersion,
                    .root = settings.root,
                    .state = settings.state,
                    .runtime = runtime ? runtime->name : "none",
                    .runtime_reason = runtime ? runtime->reason : runtime.error().message()},
          .collect = [&parts](const Context& context) { return collect(context, parts); },
          .removed = std::move(removed),
          .fsck = [&parts, &settings](const Context& context,
                                      bool deep) { return fsck(context, parts, settings, deep); },
          .login =
              [&parts, options = distribution_options(settings)](
                  const Context& context, const std::string& host, const registry::Access& access) {
                return registry::check_login(context, *parts.http, options, host, access);
              }};
}

void remove_empty_cgroups(const Settings& settings) {
  auto host = sys::CgroupHost::detect();
  if (!host) return;
  // rmdir(2) fails where something lives: then it stays for the next daemon.
  for (const std::string& cgroup : {shim_cgroup(settings), settings.runtime.cgroup_parent})
    for (const sys::Path& folder : host->folders(cgroup)) ::rmdir(folder.c_str());
}

}  // namespace skiff::daemon
