#include "snapshot/local_snapshotter.h"

#include <algorithm>

#include "base/log.h"
#include "snapshot/intent.h"

namespace skiff::snapshot {
namespace {

using metadata::Durability;
using metadata::Reader;
using metadata::Transaction;

const CrashPoint kBegin{"snapshot.prepare.intent"};
const CrashPoint kCreate{"snapshot.prepare.row"};
const CrashPoint kUndo{"snapshot.prepare.undo"};
const CrashPoint kSync{"snapshot.commit.sync"};
const CrashPoint kCommit{"snapshot.commit.row"};
const CrashPoint kUpdate{"snapshot.update"};
const CrashPoint kRemove{"snapshot.remove"};

}  // namespace

LocalSnapshotter::LocalSnapshotter(metadata::Store& metadata, std::unique_ptr<Driver> driver,
                                   sys::Path folder, sys::UniqueFd folder_fd)
    : metadata_(metadata),
      driver_(std::move(driver)),
      folder_(std::move(folder)),
      folder_fd_(std::move(folder_fd)) {}
LocalSnapshotter::~LocalSnapshotter() = default;

Result<std::unique_ptr<LocalSnapshotter>> LocalSnapshotter::open(metadata::Store& metadata,
                                                                 std::unique_ptr<Driver> driver,
                                                                 const Options& options) {
  sys::Path folder = options.root / "snapshots" / driver->name();
  SKIFF_TRY(sys::make_dirs(folder, 0700));
  sys::UniqueFd fd = SKIFF_TRY(sys::open_dir(folder));
  return std::unique_ptr<LocalSnapshotter>(
      new LocalSnapshotter(metadata, std::move(driver), std::move(folder), std::move(fd)));
}

Result<SnapshotInfo> LocalSnapshotter::stat(const Context& context, const std::string& key) {
  SnapshotInfo info;
  SKIFF_TRY(metadata_.read(context, [&](Reader& reader) -> Status {
    info = SKIFF_TRY(metadata::snapshots::get(reader, context.name_space(), name(), key));
    return ok();
  }));
  return info;
}

Result<SnapshotInfo> LocalSnapshotter::update(const Context& context, const std::string& key,
                                              const Labels& labels, const FieldPaths& paths) {
  SnapshotInfo info;
  SKIFF_TRY(
      metadata_.write(context, kUpdate, Durability::kDurable, [&](Transaction& txn) -> Status {
        const std::string& ns = context.name_space();
        SnapshotInfo before = SKIFF_TRY(metadata::snapshots::get(txn, ns, name(), key));
        Labels after = SKIFF_TRY(metadata::updated_labels(before.labels, labels, paths));
        SKIFF_TRY(metadata::snapshots::set_labels(txn, ns, name(), key, after));
        info = SKIFF_TRY(metadata::snapshots::get(txn, ns, name(), key));
        return ok();
      }));
  return info;
}

Result<Usage> LocalSnapshotter::usage(const Context& context, const std::string& key) {
  SnapshotInfo info = SKIFF_TRY(stat(context, key));
  if (info.kind == Kind::kCommitted) return Usage{info.usage_bytes, info.usage_inodes};
  if (info.kind == Kind::kView) return Usage{};
  sys::Usage now = SKIFF_TRY(sys::disk_usage(driver_->layer_folder(info.id)));
  return Usage{now.bytes, now.inodes};
}

Result<Place> LocalSnapshotter::place_of(Reader& reader, const SnapshotInfo& info) {
  auto chain = SKIFF_TRY(metadata::snapshots::chain(reader, info.id));
  return Place{info.id, info.kind, {chain.begin() + 1, chain.end()}};
}

Result<std::vector<Mount>> LocalSnapshotter::mounts(const Context& context,
                                                    const std::string& key) {
  Place place;
  SKIFF_TRY(metadata_.read(context, [&](Reader& reader) -> Status {
    auto info = SKIFF_TRY(metadata::snapshots::get(reader, context.name_space(), name(), key));
    if (info.kind == Kind::kCommitted)
      return fail(Code::kFailedPrecondition, "snapshot {} is committed; prepare or view it", key);
    place = SKIFF_TRY(place_of(reader, info));
    return ok();
  }));
  SKIFF_TRY_WRAP(check_suspects(context, place.parents), "snapshot {}", key);
  return driver_->mounts(place);
}

Result<std::vector<Mount>> LocalSnapshotter::prepare(const Context& context, const std::string& key,
                                                     const std::string& parent,
                                                     const Labels& labels) {
  return create(context, {.snapshotter = name(),
                          .key = key,
                          .parent = parent,
                          .kind = Kind::kActive,
                          .labels = labels});
}

Result<std::vector<Mount>> LocalSnapshotter::view(const Context& context, const std::string& key,
                                                  const std::string& parent, const Labels& labels) {
  return create(
      context,
      {.snapshotter = name(), .key = key, .parent = parent, .kind = Kind::kView, .labels = labels});
}

Result<std::vector<Mount>> LocalSnapshotter::create(const Context& context,
                                                    const SnapshotInfo& info) {
  if (info.key.empty()) return fail(Code::kInvalidArgument, "a snapshot needs a key");
  const std::string& ns = context.name_space();
  Begun begun;
  Place place{.kind = info.kind};
  SKIFF_TRY(metadata_.write(context, kBegin, Durability::kRides, [&](Transaction& txn) -> Status {
    begun = SKIFF_TRY(begin_prepare(txn, ns, info));
    if (begun.parent.id != 0)
      place.parents = SKIFF_TRY(metadata::snapshots::chain(txn, begun.parent.id));
    return ok();
  }));
  place.id = begun.id;
  Status status = check_suspects(context, place.parents);
  if (status) status = driver_->make(context, place);
  if (status)
    status = metadata_.write(context, kCreate, Durability::kRides, [&](Transaction& txn) {
      return finish_prepare(txn, ns, begun, info, context.lease());
    });
  if (status) return driver_->mounts(place);
  undo(context, begun);
  return std::unexpected(status.error().wrap(fmt::format("prepare snapshot {}", info.key)));
}

// The folder first: while the intent stands, a crash leads here again.
void LocalSnapshotter::undo(const Context& context, const Begun& begun) {
  Status status = driver_->remove(begun.id);
  if (status)
    status = metadata_.write(context.detached(), kUndo, Durability::kRides, [&](Transaction& txn) {
      return metadata::intents::remove(txn, begun.intent);
    });
  if (!status)
    log::warning("a snapshot that was not made leaves its folder until the next start",
                 {{"id", begun.id}, {"error", status.error()}});
}

Status LocalSnapshotter::commit(const Context& context, const std::string& name,
                                const std::string& key, const CommitOptions& options) {
  if (options.parent && !capabilities().rebase)
    return fail(Code::kInvalidArgument, "snapshotter {} cannot give a layer its parent at commit",
                this->name());
  SnapshotInfo info = SKIFF_TRY(stat(context, key));
  if (info.kind != Kind::kActive)
    return fail(Code::kFailedPrecondition, "snapshot {} is not active", key);
  Usage usage = options.usage ? *options.usage : SKIFF_TRY(this->usage(context, key));
  bool durable = options.durability == Durability::kDurable;
  if (durable) SKIFF_TRY(sys::sync_file_system(kSync, folder_fd_.get(), folder_));

  metadata::snapshots::CommitRow row{.name = name,
                                     .parent = options.parent,
                                     .labels = options.labels,
                                     .unconfirmed_boot = durable ? "" : metadata_.boot_id(),
                                     .usage_bytes = usage.bytes,
                                     .usage_inodes = usage.inodes,
                                     .layer_source = options.layer_source,
                                     .verified_chain_id = options.verified_chain_id};
  SKIFF_TRY(metadata_.write(context, kCommit, options.durability, [&](Transaction& txn) {
    return metadata::snapshots::commit(txn, context.name_space(), this->name(), key, row,
                                       context.lease());
  }));
  driver_->seal(info.id);
  return ok();
}

Status LocalSnapshotter::remove(const Context& context, const std::string& key) {
  // It may ride: the folder goes by the tombstone, and the sweep waits until that is on disk.
  return metadata_.write(context, kRemove, Durability::kRides, [&](Transaction& txn) {
    return metadata::snapshots::remove(txn, context.name_space(), name(), key);
  });
}

Status LocalSnapshotter::walk(const Context& context, const std::vector<std::string>& filters,
                              const std::function<Status(const SnapshotInfo&)>& visit) {
  std::vector<SnapshotInfo> all;
  SKIFF_TRY(metadata_.read(context, [&](Reader& reader) -> Status {
    all = SKIFF_TRY(metadata::snapshots::list(reader, context.name_space(), name(), filters));
    return ok();
  }));
  for (const SnapshotInfo& info : all) {
    SKIFF_TRY(context.check());
    SKIFF_TRY(visit(info));
  }
  return ok();
}

Status LocalSnapshotter::check_suspects(const Context& context, const std::vector<int64_t>& chain) {
  auto suspect = [&]() -> std::optional<int64_t> {
    auto ids = suspects_.lock();
    auto found = std::ranges::find_if(chain, [&](int64_t id) { return ids->contains(id); });
    return found == chain.end() ? std::nullopt : std::optional(*found);
  };
  if (!suspect()) return ok();
  SKIFF_TRY(find_suspects(context));  // it may have been made anew
  if (auto id = suspect())
    return fail(Code::kUnavailable,
                "layer {} may not have reached the disk before the machine stopped and is not made "
                "anew yet; pull the image again",
                *id);
  return ok();
}

Result<std::vector<SnapshotInfo>> LocalSnapshotter::find_suspects(const Context& context) {
  std::vector<SnapshotInfo> found;
  SKIFF_TRY(metadata_.read(context, [&](Reader& reader) -> Status {
    found = SKIFF_TRY(metadata::snapshots::suspects(reader, metadata_.boot_id()));
    return ok();
  }));
  std::erase_if(found, [&](const SnapshotInfo& info) { return info.snapshotter != name(); });
  std::set<int64_t> ids;
  for (const SnapshotInfo& info : found) ids.insert(info.id);
  *suspects_.lock() = std::move(ids);
  return found;
}

Status LocalSnapshotter::remove_files(const Context& context, const std::string& kind,
                                      const std::string& path) {
  auto id = tombstone_id(name(), kind, path);
  if (!id)
    return fail(Code::kInvalidArgument, "tombstone {} {} is not of snapshotter {}", kind, path,
                name());
  SKIFF_TRY(context.check());
  return driver_->remove(*id);
}

}  // namespace skiff::snapshot
