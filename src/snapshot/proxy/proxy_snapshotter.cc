#include "snapshot/proxy/proxy_snapshotter.h"

#include "base/log.h"
#include "snapshot/proxy/backend.h"
#include "snapshot/proxy/names.h"

namespace skiff::snapshot {
namespace {

using metadata::Durability;
using metadata::Reader;
using metadata::Transaction;

const CrashPoint kBegin{"proxy.prepare.intent"};
const CrashPoint kCreate{"proxy.prepare.row"};
const CrashPoint kBind{"proxy.prepare.bind"};
const CrashPoint kUndo{"proxy.prepare.undo"};
const CrashPoint kCommit{"proxy.commit.row"};
const CrashPoint kUpdate{"proxy.update"};
const CrashPoint kRemove{"proxy.remove"};

constexpr const char* kOwnLabels[] = {kRemoteLabel, kRemoteMadeLabel};

// Only the snapshotter says what is remote.
Labels without_own(Labels labels) {
  for (const char* label : kOwnLabels) labels.erase(label);
  return labels;
}

void take_own(const Labels& from, Labels& to) {
  for (const char* label : kOwnLabels)
    if (auto found = from.find(label); found != from.end()) to[label] = found->second;
}

}  // namespace

ProxySnapshotter::ProxySnapshotter(metadata::Store& metadata, const Options& options)
    : metadata_(metadata),
      options_(options),
      backend_(std::make_unique<Backend>(
          options.socket, options.backend_name.empty() ? options.name : options.backend_name)) {}
ProxySnapshotter::~ProxySnapshotter() = default;

Result<std::unique_ptr<ProxySnapshotter>> ProxySnapshotter::open(metadata::Store& metadata,
                                                                 const Options& options) {
  if (!options.socket.is_absolute())
    return fail(
        Code::kInvalidArgument,
        "snapshotter {}: the socket \"{}\" is not an absolute path; write it without a scheme",
        options.name, options.socket.string());
  return std::unique_ptr<ProxySnapshotter>(new ProxySnapshotter(metadata, options));
}

Result<SnapshotInfo> ProxySnapshotter::stat(const Context& context, const std::string& key) {
  SnapshotInfo info;
  SKIFF_TRY(metadata_.read(context, [&](Reader& reader) -> Status {
    info = SKIFF_TRY(metadata::snapshots::get(reader, context.name_space(), name(), key));
    return ok();
  }));
  return info;
}

Result<SnapshotInfo> ProxySnapshotter::update(const Context& context, const std::string& key,
                                              const Labels& labels, const FieldPaths& paths) {
  SnapshotInfo info;
  SKIFF_TRY(
      metadata_.write(context, kUpdate, Durability::kDurable, [&](Transaction& txn) -> Status {
        const std::string& ns = context.name_space();
        SnapshotInfo before = SKIFF_TRY(metadata::snapshots::get(txn, ns, name(), key));
        Labels after = SKIFF_TRY(metadata::updated_labels(before.labels, labels, paths));
        after = without_own(std::move(after));
        take_own(before.labels, after);
        SKIFF_TRY(metadata::snapshots::set_labels(txn, ns, name(), key, after));
        info = SKIFF_TRY(metadata::snapshots::get(txn, ns, name(), key));
        return ok();
      }));
  Labels shared = inherited(info.labels);
  if (!shared.empty()) SKIFF_TRY(backend_->set_labels(context, backend_name(info), shared));
  return info;
}

Result<Usage> ProxySnapshotter::usage(const Context& context, const std::string& key) {
  SnapshotInfo info = SKIFF_TRY(stat(context, key));
  return backend_->usage(context, backend_name(info));
}

Result<std::vector<Mount>> ProxySnapshotter::mounts(const Context& context,
                                                    const std::string& key) {
  SnapshotInfo info = SKIFF_TRY(stat(context, key));
  if (info.kind == Kind::kCommitted)
    return fail(Code::kFailedPrecondition, "snapshot {} is committed; prepare or view it", key);
  return backend_->mounts(context, backend_name(info));
}

Result<std::vector<Mount>> ProxySnapshotter::prepare(const Context& context, const std::string& key,
                                                     const std::string& parent,
                                                     const Labels& labels) {
  return create(context, {.snapshotter = name(),
                          .key = key,
                          .parent = parent,
                          .kind = Kind::kActive,
                          .labels = without_own(labels)});
}

Result<std::vector<Mount>> ProxySnapshotter::view(const Context& context, const std::string& key,
                                                  const std::string& parent, const Labels& labels) {
  return create(context, {.snapshotter = name(),
                          .key = key,
                          .parent = parent,
                          .kind = Kind::kView,
                          .labels = without_own(labels)});
}

Result<std::vector<Mount>> ProxySnapshotter::create(const Context& context, SnapshotInfo info) {
  if (info.key.empty()) return fail(Code::kInvalidArgument, "a snapshot needs a key");
  const std::string& ns = context.name_space();
  // What the backend commits under the target's name has no row for a moment.
  std::optional<KeyLocks::Held> held;
  auto target = info.labels.find(kTargetLabel);
  if (target != info.labels.end()) held.emplace(names_.lock(target->second));

  Begun begun;
  SKIFF_TRY(metadata_.write(context, kBegin, Durability::kRides, [&](Transaction& txn) -> Status {
    begun = SKIFF_TRY(begin_prepare(txn, ns, info));
    return ok();
  }));
  auto mounts = make(context, begun, info);
  if (!mounts && mounts.error().is(Code::kAlreadyExists) && target != info.labels.end()) {
    Status bound = bind_made(context, begun, info, target->second);
    if (bound) return fail(Code::kAlreadyExists, "snapshot {} is there", target->second);
    mounts = std::unexpected(bound.error());
  }
  Status status = mounts ? ok() : Status(std::unexpected(mounts.error()));
  if (status && info.labels.contains(kRemoteDigestLabel)) {
    auto made = backend_->stat(context, active_name(begun.id));
    if (made) take_own(made->labels, info.labels);
  }
  if (status)
    status = metadata_.write(context, kCreate, Durability::kRides, [&](Transaction& txn) {
      return finish_prepare(txn, ns, begun, info, context.lease());
    });
  if (status) return mounts;
  undo(context, begun);
  return std::unexpected(std::move(status).error());
}

Result<std::vector<Mount>> ProxySnapshotter::make(const Context& context, const Begun& begun,
                                                  const SnapshotInfo& info) {
  std::string parent = begun.parent.id != 0 ? backend_name(begun.parent) : "";
  std::string key = active_name(begun.id);
  if (info.kind == Kind::kView) return backend_->view(context, key, parent, inherited(info.labels));
  return backend_->prepare(context, key, parent, inherited(info.labels));
}

// Today's remote contract: the backend says that it has the layer. Believed when it is committed
// and stands on the right parent.
Status ProxySnapshotter::bind_made(const Context& context, const Begun& begun,
                                   const SnapshotInfo& info, const std::string& target) {
  BackendInfo made = SKIFF_TRY(backend_->stat(context, target));
  std::string parent = begun.parent.id != 0 ? backend_name(begun.parent) : "";
  if (made.kind != Kind::kCommitted || made.parent != parent)
    return fail(Code::kFailedPrecondition,
                "snapshotter {}: it has {}, but not as a committed layer on \"{}\"", name(), target,
                parent);
  auto usage = backend_->usage(context, target);
  metadata::snapshots::CommitRow row{.name = target, .labels = info.labels};
  take_own(made.labels, row.labels);
  row.labels.try_emplace(kRemoteMadeLabel, "");
  if (usage) {
    row.usage_bytes = usage->bytes;
    row.usage_inodes = usage->inodes;
  }
  return metadata_.write(context, kBind, Durability::kRides, [&](Transaction& txn) -> Status {
    const std::string& ns = context.name_space();
    SKIFF_TRY(finish_prepare(txn, ns, begun, info, context.lease()));
    return metadata::snapshots::commit(txn, ns, name(), info.key, row, context.lease());
  });
}

void ProxySnapshotter::undo(const Context& context, const Begun& begun) {
  Context detached = context.detached().with_timeout(std::chrono::seconds(10));
  bool was_there = false;
  Status status = remove_if_there(detached, active_name(begun.id), &was_there);
  if (status)
    status = metadata_.write(detached, kUndo, Durability::kRides, [&](Transaction& txn) {
      return metadata::intents::remove(txn, begun.intent);
    });
  if (!status)
    log::warning("a snapshot that was not made stays in its snapshotter until the next start",
                 {{"snapshotter", name()}, {"id", begun.id}, {"error", status.error()}});
}

Status ProxySnapshotter::commit(const Context& context, const std::string& name,
                                const std::string& key, const CommitOptions& options) {
  if (options.parent)
    return fail(Code::kInvalidArgument, "snapshotter {} cannot give a layer its parent at commit",
                this->name());
  if (name.empty()) return fail(Code::kInvalidArgument, "a committed snapshot needs a name");
  // The backend cannot take a commit back, so nobody else may take the name meanwhile.
  auto held = names_.lock(fmt::format("{}/{}", context.name_space(), name));
  SnapshotInfo info = SKIFF_TRY(stat(context, key));
  if (info.kind != Kind::kActive)
    return fail(Code::kFailedPrecondition, "snapshot {} is not active", key);
  if (stat(context, name)) return fail(Code::kAlreadyExists, "snapshot {} exists", name);

  Labels labels = without_own(options.labels);
  take_own(info.labels, labels);
  SKIFF_TRY(
      backend_->commit(context, committed_name(info.id), active_name(info.id), inherited(labels)));
  auto usage = options.usage ? Result<Usage>(*options.usage)
                             : backend_->usage(context, committed_name(info.id));
  metadata::snapshots::CommitRow row{.name = name,
                                     .labels = labels,
                                     .usage_bytes = usage ? usage->bytes : 0,
                                     .usage_inodes = usage ? usage->inodes : 0,
                                     .layer_source = options.layer_source,
                                     .verified_chain_id = options.verified_chain_id};
  return metadata_.write(context.detached(), kCommit, options.durability, [&](Transaction& txn) {
    return metadata::snapshots::commit(txn, context.name_space(), this->name(), key, row,
                                       context.lease());
  });
}

Status ProxySnapshotter::remove(const Context& context, const std::string& key) {
  return metadata_.write(context, kRemove, Durability::kRides, [&](Transaction& txn) {
    return metadata::snapshots::remove(txn, context.name_space(), name(), key);
  });
}

Status ProxySnapshotter::walk(const Context& context, const std::vector<std::string>& filters,
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

}  // namespace skiff::snapshot
