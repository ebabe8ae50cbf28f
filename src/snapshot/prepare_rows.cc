#include "snapshot/prepare_rows.h"

#include "snapshot/intent.h"

namespace skiff::snapshot {
namespace {

using metadata::Reader;
using metadata::Transaction;

// The layer that a client asks for by today's remote contract may be here already.
Status check_target(Reader& reader, const std::string& ns, const SnapshotInfo& info) {
  auto target = info.labels.find(kTargetLabel);
  if (target == info.labels.end()) return ok();
  auto found = metadata::snapshots::get(reader, ns, info.snapshotter, target->second);
  if (found && found->kind == Kind::kCommitted)
    return fail(Code::kAlreadyExists, "snapshot {} is there", target->second);
  if (!found && !found.error().is(Code::kNotFound)) return std::unexpected(found.error());
  return ok();
}

Status check_free(Reader& reader, const std::string& ns, const SnapshotInfo& info) {
  auto taken = metadata::snapshots::get(reader, ns, info.snapshotter, info.key);
  if (taken) return fail(Code::kAlreadyExists, "snapshot {} exists", info.key);
  return taken.error().is(Code::kNotFound) ? ok() : std::unexpected(taken.error());
}

Result<SnapshotInfo> parent_of(Reader& reader, const std::string& ns, const SnapshotInfo& info) {
  if (info.parent.empty()) return SnapshotInfo{};
  auto parent =
      SKIFF_TRY_WRAP(metadata::snapshots::get(reader, ns, info.snapshotter, info.parent), "parent");
  if (parent.kind == Kind::kCommitted) return parent;
  return fail(Code::kInvalidArgument, "parent {} is not committed", info.parent);
}

}  // namespace

Result<Begun> begin_prepare(Transaction& txn, const std::string& ns, const SnapshotInfo& info) {
  SKIFF_TRY(check_target(txn, ns, info));
  SKIFF_TRY(check_free(txn, ns, info));
  Begun begun;
  begun.parent = SKIFF_TRY(parent_of(txn, ns, info));
  begun.id = SKIFF_TRY(metadata::snapshots::reserve_id(txn));
  std::string body = intent_body({info.snapshotter, begun.id});
  begun.intent = SKIFF_TRY(metadata::intents::put(txn, kPrepareIntent, body));
  return begun;
}

Status finish_prepare(Transaction& txn, const std::string& ns, const Begun& begun,
                      SnapshotInfo info, const std::string& lease) {
  info.id = begun.id;
  SKIFF_TRY(metadata::snapshots::create(txn, ns, info, lease));
  return metadata::intents::remove(txn, begun.intent);
}

}  // namespace skiff::snapshot
