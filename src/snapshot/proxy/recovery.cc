// Rows against the backend: putting right what a crash left, removal, and fsck.
#include "base/log.h"
#include "snapshot/intent.h"
#include "snapshot/proxy/backend.h"
#include "snapshot/proxy/names.h"
#include "snapshot/proxy/proxy_snapshotter.h"

namespace skiff::snapshot {
namespace {

using metadata::Durability;
using metadata::Reader;
using metadata::Transaction;

const CrashPoint kUndoIntent{"proxy.recover.intent"};
const CrashPoint kDropRow{"proxy.recover.row"};

// What only we, or a backend at our asking, can have made.
bool is_ours(const BackendInfo& info) {
  return id_of(info.name) || (info.kind == Kind::kCommitted && info.labels.contains(kTargetLabel));
}

}  // namespace

Result<ProxySnapshotter::Recovery> ProxySnapshotter::recover(const Context& context) {
  Recovery done;
  Status status = undo_intents(context, done);
  if (status) status = drop_lost_rows(context, done);
  if (status) {
    auto removed = remove_unnamed(context);
    if (removed)
      done.snapshots_removed = *removed;
    else
      status = std::unexpected(removed.error());
  }
  if (status) return done;
  if (!status.error().is(Code::kUnavailable)) return std::unexpected(std::move(status).error());
  log::warning("an external snapshotter does not answer; its snapshots are not recovered",
               {{"snapshotter", name()}, {"error", status.error()}});
  done.reachable = false;
  return done;
}

Status ProxySnapshotter::undo_intents(const Context& context, Recovery& done) {
  std::vector<metadata::Intent> intents;
  SKIFF_TRY(metadata_.read(context, [&](Reader& reader) -> Status {
    intents = SKIFF_TRY(metadata::intents::list(reader));
    return ok();
  }));
  for (const metadata::Intent& intent : intents) {
    auto prepare = parse_intent(intent.body);
    if (intent.kind != kPrepareIntent || !prepare || prepare->snapshotter != name()) continue;
    bool was_there = false;
    SKIFF_TRY(remove_if_there(context, active_name(prepare->id), &was_there));
    SKIFF_TRY(metadata_.write(context, kUndoIntent, Durability::kRides, [&](Transaction& txn) {
      return metadata::intents::remove(txn, intent.id);
    }));
    done.intents_undone += 1;
  }
  return ok();
}

// A crash between the backend's commit and ours leaves an active row that nothing stands behind;
// the backend's side of it goes as unnamed.
Status ProxySnapshotter::drop_lost_rows(const Context& context, Recovery& done) {
  std::vector<std::pair<std::string, SnapshotInfo>> active;
  SKIFF_TRY(metadata_.read(context, [&](Reader& reader) -> Status {
    for (const std::string& ns : SKIFF_TRY(metadata::namespaces::list(reader)))
      for (auto& row : SKIFF_TRY(metadata::snapshots::list(reader, ns, name(), {})))
        if (row.kind != Kind::kCommitted) active.emplace_back(ns, std::move(row));
    return ok();
  }));
  for (const auto& [ns, row] : active) {
    auto there = backend_->stat(context, active_name(row.id));
    if (there) continue;
    if (!there.error().is(Code::kNotFound)) return std::unexpected(there.error());
    log::warning("an active snapshot is gone from its snapshotter and is dropped",
                 {{"snapshotter", name()}, {"namespace", ns}, {"key", row.key}});
    SKIFF_TRY(metadata_.write(context, kDropRow, Durability::kRides, [&](Transaction& txn) {
      return metadata::snapshots::remove(txn, ns, name(), row.key);
    }));
    done.rows_dropped += 1;
  }
  return ok();
}

Result<ProxySnapshotter::Named> ProxySnapshotter::named(const Context& context) {
  Named named;
  SKIFF_TRY(metadata_.read(context, [&](Reader& reader) -> Status {
    for (const std::string& ns : SKIFF_TRY(metadata::namespaces::list(reader)))
      for (const auto& row : SKIFF_TRY(metadata::snapshots::list(reader, ns, name(), {})))
        named.expected.insert(backend_name(row));
    named.possible = named.expected;
    // A commit changes the backend first.
    for (const auto& row : SKIFF_TRY(metadata::snapshots::list_shared(reader, name())))
      named.possible.insert(committed_name(row.id));
    for (const auto& intent : SKIFF_TRY(metadata::intents::list(reader)))
      if (auto prepare = parse_intent(intent.body); intent.kind == kPrepareIntent && prepare)
        named.possible.insert(active_name(prepare->id));
    for (const auto& tombstone : SKIFF_TRY(metadata::tombstones::list(reader)))
      if (auto id = tombstone_id(name(), tombstone.kind, tombstone.path)) named.dying.insert(*id);
    return ok();
  }));
  return named;
}

Result<uint64_t> ProxySnapshotter::remove_unnamed(const Context& context) {
  uint64_t removed = 0;
  // Children go before parents; the backend says FailedPrecondition to the other order.
  for (bool progress = true; progress;) {
    progress = false;
    auto there = SKIFF_TRY(backend_->list(context));
    Named rows = SKIFF_TRY(named(context));
    for (const BackendInfo& info : there) {
      if (!is_ours(info) || rows.possible.contains(info.name)) continue;
      auto held = names_.lock(info.name);  // not while a prepare asks for it
      if (SKIFF_TRY(named(context)).possible.contains(info.name)) continue;
      Status status = backend_->remove(context, info.name);
      if (status) {
        progress = true;
        removed += 1;
      } else if (status.error().is(Code::kUnavailable)) {
        return std::unexpected(std::move(status).error());
      }
    }
  }
  SKIFF_TRY(backend_->cleanup(context));
  return removed;
}

Status ProxySnapshotter::remove_if_there(const Context& context, const std::string& backend_key,
                                         bool* was_there) {
  Status status = backend_->remove(context, backend_key);
  if (status) *was_there = true;
  return status || status.error().is(Code::kNotFound) ? ok() : status;
}

Status ProxySnapshotter::remove_files(const Context& context, const std::string& kind,
                                      const std::string& path) {
  auto id = tombstone_id(name(), kind, path);
  if (!id)
    return fail(Code::kInvalidArgument, "tombstone {} {} is not of snapshotter {}", kind, path,
                name());
  bool was_there = false;
  SKIFF_TRY(remove_if_there(context, active_name(*id), &was_there));
  SKIFF_TRY(remove_if_there(context, committed_name(*id), &was_there));
  if (was_there) return backend_->cleanup(context);
  // It had the backend's own name, which the tombstone does not tell.
  SKIFF_TRY(remove_unnamed(context));
  return ok();
}

Result<std::vector<Finding>> ProxySnapshotter::fsck(const Context& context) {
  auto held = SKIFF_TRY(backend_->list(context));
  Named rows = SKIFF_TRY(named(context));
  std::vector<Finding> findings;
  std::set<std::string> there;
  for (const BackendInfo& info : held) {
    there.insert(info.name);
    if (!is_ours(info) || rows.possible.contains(info.name)) continue;
    // A tombstone does not tell the name of a layer that the backend made itself.
    auto id = id_of(info.name);
    if (id ? !rows.dying.contains(*id) : rows.dying.empty())
      findings.push_back({"layer-orphan", fmt::format("{}:{}", name(), info.name),
                          "the snapshotter has it, but there is no row"});
  }
  for (const std::string& expected : rows.expected) {
    if (there.contains(expected)) continue;
    // It may have come since the list was made.
    auto again = backend_->stat(context, expected);
    if (!again && again.error().is(Code::kNotFound))
      findings.push_back({"layer-missing", fmt::format("{}:{}", name(), expected),
                          "there is a row, but the snapshotter does not have it"});
  }
  return findings;
}

}  // namespace skiff::snapshot
