#include "snapshot/memory_snapshotter.h"

#include <algorithm>

#include "metadata/filter.h"
#include "snapshot/place.h"
#include "sys/copy_tree.h"

namespace skiff::snapshot {
namespace {

using Name = std::pair<std::string, std::string>;  // namespace, key

std::string_view kind_name(Kind kind) {
  if (kind == Kind::kView) return "view";
  return kind == Kind::kActive ? "active" : "committed";
}

metadata::Filter::Lookup lookup_of(const SnapshotInfo& info) {
  return [&info](const std::vector<std::string_view>& path) -> std::optional<std::string_view> {
    if (path.size() == 1 && path[0] == "name") return info.key;
    if (path.size() == 1 && path[0] == "parent") return info.parent;
    if (path.size() == 1 && path[0] == "kind") return kind_name(info.kind);
    if (path.size() != 2 || path[0] != "labels") return std::nullopt;
    auto found = info.labels.find(std::string(path[1]));
    if (found == info.labels.end()) return std::nullopt;
    return found->second;
  };
}

}  // namespace

struct MemorySnapshotter::State {
  Fault fault;
  std::map<Name, SnapshotInfo> rows;
  int64_t last_id = 0;
  Contract contract = Contract::kToday;
  std::map<std::string, sys::Path> remote;
  std::vector<Labels> prepared;

  Result<SnapshotInfo*> find(const Name& name) {
    auto found = rows.find(name);
    if (found == rows.end()) return fail(Code::kNotFound, "snapshot {} not found", name.second);
    return &found->second;
  }
  // The root of the remote layer that these labels ask for.
  const sys::Path* remote_root(const Labels& labels) const {
    auto asked = labels.find(contract == Contract::k2019 ? kRemoteDigestLabel : kTargetLabel);
    if (asked == labels.end()) return nullptr;
    auto found = remote.find(asked->second);
    return found == remote.end() ? nullptr : &found->second;
  }
};

MemorySnapshotter::MemorySnapshotter(std::string name)
    : name_(std::move(name)),
      scratch_("skiff-snapshots-"),
      state_(std::make_unique<Guarded<State>>()) {}
MemorySnapshotter::~MemorySnapshotter() = default;

void MemorySnapshotter::set_fault(Fault fault) { state_->lock()->fault = std::move(fault); }

void MemorySnapshotter::set_remote(Contract contract, std::map<std::string, sys::Path> roots) {
  auto state = state_->lock();
  state->contract = contract;
  state->remote = std::move(roots);
}

std::vector<Labels> MemorySnapshotter::prepared_labels() const { return state_->lock()->prepared; }

Capabilities MemorySnapshotter::capabilities() const {
  return {.remote = !state_->lock()->remote.empty()};
}

Status MemorySnapshotter::check(const Context& context, std::string_view operation) const {
  SKIFF_TRY(context.check());
  Fault fault = state_->lock()->fault;
  return fault ? fault(operation) : ok();
}

Result<SnapshotInfo> MemorySnapshotter::stat(const Context& context, const std::string& key) {
  SKIFF_TRY(check(context, "stat"));
  auto state = state_->lock();
  return *SKIFF_TRY(state->find({context.name_space(), key}));
}

Result<SnapshotInfo> MemorySnapshotter::update(const Context& context, const std::string& key,
                                               const Labels& labels, const FieldPaths& paths) {
  SKIFF_TRY(check(context, "update"));
  auto state = state_->lock();
  SnapshotInfo* info = SKIFF_TRY(state->find({context.name_space(), key}));
  info->labels = SKIFF_TRY(metadata::updated_labels(info->labels, labels, paths));
  info->updated = metadata::now();
  return *info;
}

Result<Usage> MemorySnapshotter::usage(const Context& context, const std::string& key) {
  SnapshotInfo info = SKIFF_TRY(stat(context, key));
  if (info.kind == Kind::kCommitted) return Usage{info.usage_bytes, info.usage_inodes};
  if (info.kind == Kind::kView) return Usage{};
  auto now = SKIFF_TRY(sys::disk_usage(scratch_.path() / std::to_string(info.id)));
  return Usage{now.bytes, now.inodes};
}

std::vector<Mount> MemorySnapshotter::mounts_of(const SnapshotInfo& info) const {
  return {bind_of(scratch_.path() / std::to_string(info.id), info.kind != Kind::kActive)};
}

Result<std::vector<Mount>> MemorySnapshotter::mounts(const Context& context,
                                                     const std::string& key) {
  SKIFF_TRY(check(context, "mounts"));
  SnapshotInfo info = SKIFF_TRY(stat(context, key));
  if (info.kind == Kind::kCommitted)
    return fail(Code::kFailedPrecondition, "snapshot {} is committed", key);
  return mounts_of(info);
}

Result<std::vector<Mount>> MemorySnapshotter::prepare(const Context& context,
                                                      const std::string& key,
                                                      const std::string& parent,
                                                      const Labels& labels) {
  SKIFF_TRY(check(context, "prepare"));
  return create(context, Kind::kActive, key, parent, labels);
}

Result<std::vector<Mount>> MemorySnapshotter::view(const Context& context, const std::string& key,
                                                   const std::string& parent,
                                                   const Labels& labels) {
  SKIFF_TRY(check(context, "view"));
  return create(context, Kind::kView, key, parent, labels);
}

// Simple rather than parallel: the copy is made under the lock.
Result<std::vector<Mount>> MemorySnapshotter::create(const Context& context, Kind kind,
                                                     const std::string& key,
                                                     const std::string& parent,
                                                     const Labels& labels) {
  if (key.empty()) return fail(Code::kInvalidArgument, "a snapshot needs a key");
  auto state = state_->lock();
  state->prepared.push_back(labels);
  const std::string& ns = context.name_space();
  if (state->rows.contains({ns, key})) return fail(Code::kAlreadyExists, "snapshot {} exists", key);
  auto target = labels.find(kTargetLabel);
  if (target != labels.end() && state->rows.contains({ns, target->second}))
    return fail(Code::kAlreadyExists, "snapshot {} is there", target->second);
  SnapshotInfo info{.id = ++state->last_id,
                    .snapshotter = name_,
                    .key = key,
                    .parent = parent,
                    .kind = kind,
                    .labels = labels,
                    .created = metadata::now()};
  info.updated = info.created;
  sys::Path folder = scratch_.path() / std::to_string(info.id);
  const sys::Path* root = kind == Kind::kActive ? state->remote_root(labels) : nullptr;
  sys::Path from = root != nullptr ? *root : sys::Path();
  if (!parent.empty()) {
    SnapshotInfo* below = SKIFF_TRY(state->find({ns, parent}));
    if (below->kind != Kind::kCommitted)
      return fail(Code::kInvalidArgument, "parent {} is not committed", parent);
    info.parent_id = below->id;
    if (root == nullptr) from = scratch_.path() / std::to_string(below->id);
  }
  SKIFF_TRY(sys::make_dir(folder));
  if (!from.empty()) SKIFF_TRY(sys::copy_tree(context, from, folder));
  if (root != nullptr && state->contract == Contract::kToday) {
    info.key = target->second;
    info.kind = Kind::kCommitted;
    info.labels[kRemoteMadeLabel] = "";
    state->rows[{ns, info.key}] = info;
    return fail(Code::kAlreadyExists, "snapshot {} is there now", info.key);
  }
  if (root != nullptr) info.labels[kRemoteLabel] = "";
  state->rows[{ns, key}] = info;
  return mounts_of(info);
}

Status MemorySnapshotter::commit(const Context& context, const std::string& name,
                                 const std::string& key, const CommitOptions& options) {
  SKIFF_TRY(check(context, "commit"));
  if (options.parent) return fail(Code::kInvalidArgument, "{} has no rebase", name_);
  if (name.empty()) return fail(Code::kInvalidArgument, "a committed snapshot needs a name");
  Usage used = options.usage ? *options.usage : SKIFF_TRY(usage(context, key));
  auto state = state_->lock();
  const std::string& ns = context.name_space();
  SnapshotInfo info = *SKIFF_TRY(state->find({ns, key}));
  if (info.kind != Kind::kActive)
    return fail(Code::kFailedPrecondition, "snapshot {} is not active", key);
  if (state->rows.contains({ns, name}))
    return fail(Code::kAlreadyExists, "snapshot {} exists", name);
  state->rows.erase({ns, key});
  info.key = name;
  info.kind = Kind::kCommitted;
  bool remote = info.labels.contains(kRemoteLabel);
  info.labels = options.labels;
  info.labels.erase(kRemoteLabel);
  if (remote) info.labels[kRemoteLabel] = "";
  info.updated = metadata::now();
  info.usage_bytes = used.bytes;
  info.usage_inodes = used.inodes;
  info.layer_source = options.layer_source;
  state->rows[{ns, name}] = std::move(info);
  return ok();
}

Status MemorySnapshotter::remove(const Context& context, const std::string& key) {
  SKIFF_TRY(check(context, "remove"));
  auto state = state_->lock();
  SnapshotInfo info = *SKIFF_TRY(state->find({context.name_space(), key}));
  bool has_children = std::ranges::any_of(
      state->rows, [&](const auto& row) { return row.second.parent_id == info.id; });
  if (has_children) return fail(Code::kFailedPrecondition, "snapshot {} has children", key);
  state->rows.erase({context.name_space(), key});
  return sys::remove_tree(scratch_.path() / std::to_string(info.id));
}

Status MemorySnapshotter::walk(const Context& context, const std::vector<std::string>& filters,
                               const std::function<Status(const SnapshotInfo&)>& visit) {
  SKIFF_TRY(check(context, "walk"));
  auto filter = SKIFF_TRY(metadata::Filter::compile(filters));
  std::vector<SnapshotInfo> all;
  {
    auto state = state_->lock();
    for (const auto& [name, info] : state->rows)
      if (name.first == context.name_space() && filter.match(lookup_of(info))) all.push_back(info);
  }
  for (const SnapshotInfo& info : all) SKIFF_TRY(visit(info));
  return ok();
}

}  // namespace skiff::snapshot
