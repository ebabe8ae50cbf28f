#include <algorithm>

#include "metadata/labels.h"
#include "metadata/refs.h"
#include "metadata/row_filter.h"

namespace skiff::metadata::snapshots {
namespace {

constexpr RowFilter::Field kFields[] = {{"name", 2}, {"parent", 3}, {"kind", 14}};

std::unexpected<Error> not_found(const std::string& key) {
  return fail(Code::kNotFound, "snapshot {}: not found", key);
}

// The columns of kColumns below, in order.
Result<Snapshot> read(const Statement& row) {
  Snapshot snapshot;
  snapshot.id = row.integer(0);
  snapshot.snapshotter = row.string(1);
  snapshot.key = row.string(2);
  snapshot.parent = row.string(3);
  snapshot.kind = static_cast<SnapshotKind>(row.integer(4));
  snapshot.labels = SKIFF_TRY_WRAP(decode_labels(row.text(5)), "snapshot {}", snapshot.key);
  snapshot.created = row.integer(6);
  snapshot.updated = row.integer(7);
  snapshot.parent_id = row.integer(8);
  snapshot.unconfirmed_boot = row.string(9);
  snapshot.usage_bytes = row.unsigned_integer(10);
  snapshot.usage_inodes = row.unsigned_integer(11);
  snapshot.layer_source = row.string(12);
  return snapshot;
}

Result<std::vector<Snapshot>> read_all(Statement& rows) {
  std::vector<Snapshot> snapshots;
  while (SKIFF_TRY(rows.next())) snapshots.push_back(SKIFF_TRY(read(rows)));
  return snapshots;
}

#define SKIFF_NAMED_SNAPSHOTS                                                              \
  "SELECT s.id, s.snapshotter, n.key, p.key, s.kind, n.labels, n.created, n.updated, "     \
  "s.parent_id, "                                                                          \
  "       s.unconfirmed_boot, s.usage_bytes, s.usage_inodes, s.layer_source, s.chain_id, " \
  "       CASE s.kind WHEN 1 THEN 'view' WHEN 2 THEN 'active' ELSE 'committed' END "       \
  "FROM snapshot_names n JOIN snapshots s USING (id) "                                     \
  "LEFT JOIN snapshot_names p ON p.id = s.parent_id AND p.ns = n.ns "

// Without a namespace the key is the verified chain ID.
#define SKIFF_SHARED_SNAPSHOTS                                                               \
  "SELECT s.id, s.snapshotter, s.chain_id, p.chain_id, s.kind, '{}', s.created, s.created, " \
  "       s.parent_id, s.unconfirmed_boot, s.usage_bytes, s.usage_inodes, s.layer_source "   \
  "FROM snapshots s LEFT JOIN snapshots p ON p.id = s.parent_id "

// The id of a committed snapshot that may be a parent.
Result<int64_t> parent_id(Reader& reader, const std::string& ns, const std::string& snapshotter,
                          const std::string& parent) {
  Statement find(reader, R"(
      SELECT s.id, s.kind FROM snapshot_names n JOIN snapshots s USING (id)
      WHERE n.ns = ? AND n.snapshotter = ? AND n.key = ?)",
                 ns, snapshotter, parent);
  if (!SKIFF_TRY(find.next()))
    return fail(Code::kNotFound, "parent snapshot {}: not found", parent);
  if (static_cast<SnapshotKind>(find.integer(1)) != SnapshotKind::kCommitted)
    return fail(Code::kInvalidArgument, "parent snapshot {}: is not committed", parent);
  return find.integer(0);
}

std::optional<int64_t> or_null(int64_t id) { return id != 0 ? std::optional(id) : std::nullopt; }

Status insert_name(Transaction& txn, const std::string& ns, const Snapshot& snapshot, int64_t id) {
  SKIFF_TRY_WRAP(check_labels(snapshot.labels), "snapshot {}", snapshot.key);
  SKIFF_TRY(namespaces::ensure(txn, ns));
  Time time = now();
  Statement insert(txn, "INSERT INTO snapshot_names VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", ns,
                   snapshot.snapshotter, snapshot.key, id, encode_labels(snapshot.labels),
                   snapshot.created != 0 ? snapshot.created : time,
                   snapshot.updated != 0 ? snapshot.updated : time, label_root(snapshot.labels),
                   txn.generation());
  auto inserted = insert.run();
  if (!inserted && inserted.error().is(Code::kAlreadyExists))
    return fail(Code::kAlreadyExists, "snapshot {}: already exists", snapshot.key);
  SKIFF_TRY(std::move(inserted));
  std::string type = refs::snapshots(snapshot.snapshotter);
  refs::Node node{type, snapshot.key};
  if (!snapshot.parent.empty()) SKIFF_TRY(refs::add(txn, ns, node, {type, snapshot.parent}, true));
  return refs::set_label_edges(txn, ns, node, snapshot.labels);
}

Status forget_edges(Transaction& txn, const std::string& ns, refs::Node node) {
  SKIFF_TRY(refs::remove_from(txn, ns, node, true));
  return refs::remove_from(txn, ns, node, false);
}

// The chain ID is shared by one row only; a second verified layer of it stays its namespace's own.
Result<std::string> free_chain_id(Reader& reader, const std::string& snapshotter,
                                  const Digest& chain_id) {
  Statement find(reader, "SELECT 1 FROM snapshots WHERE snapshotter = ? AND chain_id = ?",
                 snapshotter, chain_id);
  return SKIFF_TRY(find.exists()) ? std::string() : chain_id.str();
}

}  // namespace

Result<Snapshot> get(Reader& reader, const std::string& ns, const std::string& snapshotter,
                     const std::string& key) {
  Statement row(reader, SKIFF_NAMED_SNAPSHOTS "WHERE n.ns = ? AND n.snapshotter = ? AND n.key = ?",
                ns, snapshotter, key);
  if (!SKIFF_TRY(row.next())) return not_found(key);
  return read(row);
}

Result<Snapshot> find_committed(Reader& reader, const std::string& snapshotter,
                                const std::string& chain_id) {
  Statement row(reader, SKIFF_SHARED_SNAPSHOTS "WHERE s.snapshotter = ? AND s.chain_id = ?",
                snapshotter, chain_id);
  if (!SKIFF_TRY(row.next())) return not_found(chain_id);
  return read(row);
}

Result<std::vector<Snapshot>> list(Reader& reader, const std::string& ns,
                                   const std::string& snapshotter,
                                   const std::vector<std::string>& filters) {
  RowFilter filter = SKIFF_TRY(RowFilter::compile(filters, kFields, 5));
  std::vector<Snapshot> snapshots;
  Statement rows(reader,
                 SKIFF_NAMED_SNAPSHOTS "WHERE n.ns = ? AND n.snapshotter = ? ORDER BY n.key", ns,
                 snapshotter);
  while (SKIFF_TRY(rows.next()))
    if (filter.match(rows)) snapshots.push_back(SKIFF_TRY(read(rows)));
  return snapshots;
}

Result<std::vector<Snapshot>> list_shared(Reader& reader, const std::string& snapshotter) {
  Statement rows(reader, SKIFF_SHARED_SNAPSHOTS "WHERE s.snapshotter = ? ORDER BY s.id",
                 snapshotter);
  return read_all(rows);
}

Result<std::vector<int64_t>> chain(Reader& reader, int64_t id) {
  std::vector<int64_t> ids;
  // Bounded, should damaged rows make a ring.
  Statement rows(reader, R"(
      WITH RECURSIVE up (id, parent_id, depth) AS (
        SELECT id, parent_id, 0 FROM snapshots WHERE id = ?
        UNION ALL
        SELECT s.id, s.parent_id, depth + 1 FROM up JOIN snapshots s ON s.id = up.parent_id
        WHERE depth < 10000)
      SELECT id FROM up ORDER BY depth)",
                 id);
  while (SKIFF_TRY(rows.next())) ids.push_back(rows.integer(0));
  if (ids.empty()) return fail(Code::kNotFound, "snapshot id {}: not found", id);
  return ids;
}

// What AUTOINCREMENT itself counts with: an id taken here is never given to a row that asks for
// none.
Result<int64_t> reserve_id(Transaction& txn) {
  Statement next(txn, R"(
      UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'snapshots' RETURNING seq)");
  if (SKIFF_TRY(next.next())) {
    int64_t id = next.integer(0);
    SKIFF_TRY(next.run());
    return id;
  }
  Statement first(txn, "INSERT INTO sqlite_sequence (name, seq) VALUES ('snapshots', 1)");
  SKIFF_TRY(first.run());
  return 1;
}

Result<int64_t> create(Transaction& txn, const std::string& ns, const Snapshot& snapshot,
                       const std::string& lease) {
  if (snapshot.key.empty()) return fail(Code::kInvalidArgument, "the snapshot has no key");
  if (snapshot.kind == SnapshotKind::kCommitted)
    return fail(Code::kInvalidArgument, "snapshot {}: is made active, then committed",
                snapshot.key);
  int64_t parent = 0;
  if (!snapshot.parent.empty())
    parent = SKIFF_TRY_WRAP(parent_id(txn, ns, snapshot.snapshotter, snapshot.parent),
                            "snapshot {}", snapshot.key);
  Statement insert(txn, R"(
      INSERT INTO snapshots (id, snapshotter, parent_id, kind, created, written, unconfirmed_boot,
                             usage_bytes, usage_inodes, layer_source)
      VALUES (?, ?, ?, ?, ?, ?, '', 0, 0, ?) RETURNING id)",
                   or_null(snapshot.id), snapshot.snapshotter, or_null(parent),
                   static_cast<int>(snapshot.kind), now(), txn.generation(), snapshot.layer_source);
  SKIFF_TRY(insert.next());
  int64_t id = insert.integer(0);
  SKIFF_TRY(insert.run());
  SKIFF_TRY(insert_name(txn, ns, snapshot, id));
  SKIFF_TRY(refs::hold(txn, ns, lease, {refs::snapshots(snapshot.snapshotter), snapshot.key}));
  return id;
}

Status commit(Transaction& txn, const std::string& ns, const std::string& snapshotter,
              const std::string& key, const CommitRow& row, const std::string& lease) {
  if (row.name.empty()) return fail(Code::kInvalidArgument, "snapshot {}: no name to commit", key);
  Snapshot snapshot = SKIFF_TRY(get(txn, ns, snapshotter, key));
  if (snapshot.kind != SnapshotKind::kActive)
    return fail(Code::kFailedPrecondition, "snapshot {}: is not active", key);
  int64_t parent = snapshot.parent_id;
  if (row.parent) {
    snapshot.parent = *row.parent;
    parent = row.parent->empty() ? 0
                                 : SKIFF_TRY_WRAP(parent_id(txn, ns, snapshotter, *row.parent),
                                                  "commit snapshot {}", key);
  }
  std::optional<std::string> chain_id;
  if (!row.verified_chain_id.empty()) {
    std::string free = SKIFF_TRY(free_chain_id(txn, snapshotter, row.verified_chain_id));
    if (!free.empty()) chain_id = free;
  }
  Statement update(txn, R"(
      UPDATE snapshots SET kind = 3, parent_id = ?, chain_id = ?, written = ?, unconfirmed_boot = ?,
        usage_bytes = ?, usage_inodes = ?, layer_source = ? WHERE id = ?)",
                   or_null(parent), chain_id, txn.generation(), row.unconfirmed_boot,
                   row.usage_bytes, row.usage_inodes, row.layer_source, snapshot.id);
  SKIFF_TRY(update.run());

  // The key gives way to the name, with its edges and in every lease.
  std::string type = refs::snapshots(snapshotter);
  Statement erase(txn, "DELETE FROM snapshot_names WHERE ns = ? AND snapshotter = ? AND key = ?",
                  ns, snapshotter, key);
  SKIFF_TRY(erase.run());
  SKIFF_TRY(forget_edges(txn, ns, {type, key}));
  snapshot.key = row.name;
  snapshot.labels = row.labels;
  snapshot.updated = 0;
  SKIFF_TRY(insert_name(txn, ns, snapshot, snapshot.id));
  Statement move(txn, R"(
      UPDATE OR REPLACE refs SET to_id = ?4
      WHERE ns = ?1 AND from_type = 'leases' AND to_type = ?2 AND to_id = ?3)",
                 ns, type, key, row.name);
  SKIFF_TRY(move.run());
  return refs::hold(txn, ns, lease, {type, row.name});
}

Status adopt(Transaction& txn, const std::string& ns, const std::string& snapshotter,
             const std::string& chain_id, const Labels& labels, const std::string& lease) {
  int64_t top = SKIFF_TRY(find_committed(txn, snapshotter, chain_id)).id;
  std::vector<int64_t> ids = SKIFF_TRY(chain(txn, top));
  std::ranges::reverse(ids);
  std::string parent;
  for (int64_t id : ids) {
    Statement row(txn, R"(
        SELECT s.chain_id, n.key FROM snapshots s
        LEFT JOIN snapshot_names n ON n.id = s.id AND n.ns = ?1 WHERE s.id = ?2)",
                  ns, id);
    SKIFF_TRY(row.next());
    if (!row.null(1)) {
      parent = row.string(1);
      continue;
    }
    if (row.null(0))
      return fail(Code::kNotFound, "snapshot {}: its layer {} is not verified", chain_id, id);
    Snapshot snapshot{.snapshotter = snapshotter, .key = row.string(0), .parent = parent};
    if (id == top) snapshot.labels = labels;
    SKIFF_TRY(insert_name(txn, ns, snapshot, id));
    parent = snapshot.key;
  }
  std::string type = refs::snapshots(snapshotter);
  SKIFF_TRY(refs::touch(txn, ns, {type, parent}));
  return refs::hold(txn, ns, lease, {type, parent});
}

Status set_labels(Transaction& txn, const std::string& ns, const std::string& snapshotter,
                  const std::string& key, const Labels& labels) {
  SKIFF_TRY_WRAP(check_labels(labels), "snapshot {}", key);
  Statement update(txn, R"(
      UPDATE snapshot_names SET labels = ?, updated = ?, root = ?, touched = ?
      WHERE ns = ? AND snapshotter = ? AND key = ?)",
                   encode_labels(labels), now(), label_root(labels), txn.generation(), ns,
                   snapshotter, key);
  if (SKIFF_TRY(update.run()) == 0) return not_found(key);
  return refs::set_label_edges(txn, ns, {refs::snapshots(snapshotter), key}, labels);
}

Status remove(Transaction& txn, const std::string& ns, const std::string& snapshotter,
              const std::string& key) {
  Snapshot snapshot = SKIFF_TRY(get(txn, ns, snapshotter, key));
  Statement child(txn, R"(
      SELECT n.key FROM snapshots s JOIN snapshot_names n ON n.id = s.id
      WHERE s.parent_id = ? AND n.ns = ?)",
                  snapshot.id, ns);
  if (SKIFF_TRY(child.next()))
    return fail(Code::kFailedPrecondition, "snapshot {}: is the parent of snapshot {}", key,
                child.text(0));
  Statement name(txn, "DELETE FROM snapshot_names WHERE ns = ? AND snapshotter = ? AND key = ?", ns,
                 snapshotter, key);
  SKIFF_TRY(name.run());
  SKIFF_TRY(forget_edges(txn, ns, {refs::snapshots(snapshotter), key}));
  Statement shared(txn, R"(
      DELETE FROM snapshots WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM snapshot_names WHERE id = ?1))",
                   snapshot.id);
  if (SKIFF_TRY(shared.run()) == 0) return ok();
  return tombstones::put(txn, "snapshot", fmt::format("{}/{}", snapshotter, snapshot.id));
}

Status confirm(Transaction& txn, const std::string& boot, uint64_t generation) {
  Statement update(
      txn, "UPDATE snapshots SET unconfirmed_boot = '' WHERE unconfirmed_boot = ? AND written <= ?",
      boot, generation);
  SKIFF_TRY(update.run());
  return ok();
}

Status rewritten(Transaction& txn, int64_t id, const std::string& boot) {
  Statement update(txn, "UPDATE snapshots SET unconfirmed_boot = ?, written = ? WHERE id = ?", boot,
                   txn.generation(), id);
  if (SKIFF_TRY(update.run()) == 0) return fail(Code::kNotFound, "snapshot id {}: not found", id);
  return ok();
}

Result<std::vector<Snapshot>> suspects(Reader& reader, const std::string& current_boot) {
  // By depth, since a layer may have been written before the one it stands on.
  Statement rows(reader, R"(
      WITH RECURSIVE tree (id, depth) AS (
        SELECT id, 0 FROM snapshots WHERE parent_id IS NULL
        UNION ALL
        SELECT s.id, depth + 1 FROM tree JOIN snapshots s ON s.parent_id = tree.id)
      SELECT s.id, s.snapshotter, s.chain_id, p.chain_id, s.kind, '{}', s.created, s.created,
             s.parent_id, s.unconfirmed_boot, s.usage_bytes, s.usage_inodes, s.layer_source
      FROM tree JOIN snapshots s USING (id) LEFT JOIN snapshots p ON p.id = s.parent_id
      WHERE s.unconfirmed_boot <> '' AND s.unconfirmed_boot <> ? ORDER BY depth, s.id)",
                 current_boot);
  return read_all(rows);
}

}  // namespace skiff::metadata::snapshots
