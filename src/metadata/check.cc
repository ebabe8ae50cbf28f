#include "metadata/check.h"

#include "metadata/sqlite.h"

namespace skiff::metadata {
namespace {

const CrashPoint kRepair{"metadata.repair"};

// A rule: the query finds what breaks it, as (subject, detail); the repair ends all of it.
struct Rule {
  const char* kind;
  Sql broken;
  const char* repair;  // nullptr: it takes more than the database
};

// Where nothing but this build writes, labels are JSON objects of strings.
#define SKIFF_BAD_LABELS(table, subject)                                     \
  "SELECT '" table " ' || " subject ", 'its labels are damaged' FROM " table \
  " WHERE NOT json_valid(labels) OR json_type(labels) <> 'object'"

// An edge's source, looked up by its type.
#define SKIFF_ORPHAN_EDGE                                                                         \
  "NOT CASE from_type "                                                                           \
  "  WHEN 'content' THEN EXISTS (SELECT 1 FROM blob_names n WHERE n.ns = refs.ns AND "            \
  "    n.digest = from_id) "                                                                      \
  "  WHEN 'images' THEN EXISTS (SELECT 1 FROM images n WHERE n.ns = refs.ns AND n.name = "        \
  "from_id) "                                                                                     \
  "  WHEN 'leases' THEN EXISTS (SELECT 1 FROM leases n WHERE n.ns = refs.ns AND n.id = from_id) " \
  "  WHEN 'containers' THEN EXISTS (SELECT 1 FROM containers n WHERE n.ns = refs.ns AND "         \
  "    n.id = from_id) "                                                                          \
  "  ELSE EXISTS (SELECT 1 FROM snapshot_names n WHERE n.ns = refs.ns AND n.key = from_id AND "   \
  "    'snapshots/' || n.snapshotter = from_type) END"

// The structural edges that rows ask for.
#define SKIFF_WANTED_EDGES                                                                       \
  "SELECT ns, 'images' AS from_type, name AS from_id, 'content' AS to_type, digest AS to_id "    \
  "FROM images "                                                                                 \
  "UNION ALL SELECT ns, 'containers', id, 'snapshots/' || snapshotter, snapshot_key "            \
  "FROM containers WHERE snapshot_key <> '' "                                                    \
  "UNION ALL SELECT n.ns, 'snapshots/' || n.snapshotter, n.key, 'snapshots/' || p.snapshotter, " \
  "p.key FROM snapshot_names n JOIN snapshots s USING (id) "                                     \
  "JOIN snapshot_names p ON p.id = s.parent_id AND p.ns = n.ns"

#define SKIFF_MISSING_EDGES                                                            \
  "(" SKIFF_WANTED_EDGES                                                               \
  ") w WHERE NOT EXISTS (SELECT 1 FROM refs r WHERE r.ns = w.ns AND "                  \
  "r.from_type = w.from_type AND r.from_id = w.from_id AND r.to_type = w.to_type AND " \
  "r.to_id = w.to_id AND r.structural)"

#define SKIFF_LIVE_TOMBSTONE                                                                      \
  "(kind = 'blob' AND EXISTS (SELECT 1 FROM blobs WHERE "                                         \
  "  path = 'content/blobs/' || replace(digest, ':', '/'))) OR "                                  \
  "(kind = 'ingest' AND EXISTS (SELECT 1 FROM ingests WHERE path = 'content/ingest/' || id)) OR " \
  "(kind = 'snapshot' AND EXISTS (SELECT 1 FROM snapshots s WHERE path = snapshotter || '/' || "  \
  "s.id))"

#define SKIFF_EXPIRED "expires IS NOT NULL AND expires < unixepoch() * 1000000000"

#define SKIFF_BAD_DIGEST(table)                                                                  \
  "SELECT '" table " ' || digest, 'its digest is damaged' FROM " table                           \
  " WHERE NOT (digest GLOB 'sha256:*' AND length(digest) = 71) AND NOT (digest GLOB 'sha512:*' " \
  "AND length(digest) = 135)"

constexpr Rule kRules[] = {
    {"row-unreadable", SKIFF_BAD_DIGEST("images"), nullptr},
    {"row-unreadable", SKIFF_BAD_DIGEST("blobs"), nullptr},
    {"row-unreadable", SKIFF_BAD_LABELS("images", "name"), nullptr},
    {"row-unreadable", SKIFF_BAD_LABELS("blob_names", "digest"), nullptr},
    {"row-unreadable", SKIFF_BAD_LABELS("snapshot_names", "key"), nullptr},
    {"row-unreadable", SKIFF_BAD_LABELS("leases", "id"), nullptr},
    {"row-unreadable", SKIFF_BAD_LABELS("containers", "id"), nullptr},
    {"edge-orphan",
     "SELECT from_type || ' ' || from_id, 'does not exist but points at ' || to_type || ' ' || "
     "to_id "
     "FROM refs WHERE " SKIFF_ORPHAN_EDGE,
     "DELETE FROM refs WHERE " SKIFF_ORPHAN_EDGE},
    {"edge-missing",
     "SELECT w.from_type || ' ' || w.from_id, 'does not hold its ' || w.to_type || ' ' || w.to_id "
     "FROM " SKIFF_MISSING_EDGES,
     "INSERT INTO refs SELECT w.*, 1 FROM " SKIFF_MISSING_EDGES},
    {"blob-unnamed",
     "SELECT digest, 'no namespace has a name for it' FROM blobs b "
     "WHERE NOT EXISTS (SELECT 1 FROM blob_names n WHERE n.digest = b.digest)",
     "INSERT INTO tombstones (kind, path) "
     "SELECT 'blob', 'content/blobs/' || replace(digest, ':', '/') FROM blobs b "
     "WHERE NOT EXISTS (SELECT 1 FROM blob_names n WHERE n.digest = b.digest) "
     "ON CONFLICT DO NOTHING;"
     "DELETE FROM blobs WHERE digest NOT IN (SELECT digest FROM blob_names)"},
    // A layer that others stand on goes once they have gone: the next check finds it again.
    {"snapshot-unnamed",
     "SELECT snapshotter || '/' || id, 'no namespace has a name for it' FROM snapshots s "
     "WHERE NOT EXISTS (SELECT 1 FROM snapshot_names n WHERE n.id = s.id)",
     "INSERT INTO tombstones (kind, path) SELECT 'snapshot', snapshotter || '/' || id "
     "FROM snapshots s WHERE NOT EXISTS (SELECT 1 FROM snapshot_names n WHERE n.id = s.id) "
     "AND NOT EXISTS (SELECT 1 FROM snapshots c WHERE c.parent_id = s.id) ON CONFLICT DO NOTHING;"
     "DELETE FROM snapshots WHERE id NOT IN (SELECT id FROM snapshot_names) "
     "AND NOT EXISTS (SELECT 1 FROM snapshots c WHERE c.parent_id = snapshots.id)"},
    {"tombstone-live",
     "SELECT kind || ' ' || path, 'is to be removed but its row lives' "
     "FROM tombstones WHERE " SKIFF_LIVE_TOMBSTONE,
     "DELETE FROM tombstones WHERE " SKIFF_LIVE_TOMBSTONE},
    {"lease-expired",
     "SELECT id, 'has expired; it holds nothing any more' FROM leases WHERE " SKIFF_EXPIRED,
     "DELETE FROM refs WHERE from_type = 'leases' AND (ns, from_id) IN "
     "(SELECT ns, id FROM leases WHERE " SKIFF_EXPIRED
     "); DELETE FROM leases WHERE " SKIFF_EXPIRED},
    {"image-incomplete",
     "SELECT name, digest || ' is not in namespace ' || ns || ': pull it again' FROM images i "
     "WHERE NOT EXISTS (SELECT 1 FROM blob_names n WHERE n.ns = i.ns AND n.digest = i.digest)",
     nullptr},
    {"snapshot-parent",
     "SELECT s.snapshotter || '/' || s.id, 'stands on snapshot ' || p.id || ', which is not "
     "committed' "
     "FROM snapshots s JOIN snapshots p ON p.id = s.parent_id WHERE p.kind <> 3",
     nullptr},
    {"snapshot-parent",
     "SELECT n.key, 'namespace ' || n.ns || ' has no name for its parent, snapshot ' || "
     "s.parent_id "
     "FROM snapshot_names n JOIN snapshots s USING (id) WHERE s.parent_id IS NOT NULL AND NOT "
     "EXISTS "
     "(SELECT 1 FROM snapshot_names p WHERE p.ns = n.ns AND p.id = s.parent_id)",
     nullptr},
};

Status read_findings(Reader& reader, Sql query, const char* kind, bool repairable,
                     std::vector<Finding>& findings) {
  Statement rows(reader, query);
  while (SKIFF_TRY(rows.next()))
    findings.push_back({kind, rows.string(0), rows.string(1), repairable});
  return ok();
}

Status check_database(Reader& reader, std::vector<Finding>& findings) {
  Statement rows(reader, "PRAGMA integrity_check(100)");
  while (SKIFF_TRY(rows.next()))
    if (rows.text(0) != "ok")
      findings.push_back({"database-damaged", "metadata.db", rows.string(0)});
  Statement keys(reader, "PRAGMA foreign_key_check");
  while (SKIFF_TRY(keys.next()))
    findings.push_back({"row-dangling", keys.string(0),
                        fmt::format("a row names a row of {} that is not there", keys.text(2))});
  return ok();
}

Status check_confirmed(Reader& reader, const std::string& boot, std::vector<Finding>& findings) {
  Statement rows(reader, R"(
      SELECT digest, unconfirmed_boot FROM blobs
      WHERE unconfirmed_boot <> '' AND unconfirmed_boot <> ?1
      UNION ALL
      SELECT snapshotter || '/' || id, unconfirmed_boot FROM snapshots
      WHERE unconfirmed_boot <> '' AND unconfirmed_boot <> ?1)",
                 boot);
  while (SKIFF_TRY(rows.next()))
    findings.push_back({"unconfirmed", rows.string(0),
                        fmt::format("its bytes may not have reached the disk ({}); a restart of "
                                    "skiffd verifies them",
                                    rows.text(1))});
  return ok();
}

}  // namespace

Result<std::vector<Finding>> check(const Context& context, Store& store) {
  std::vector<Finding> findings;
  // Pages that cannot be read end SQLite's own check early; that is a finding, too.
  Status status =
      store.read(context, [&](Reader& reader) { return check_database(reader, findings); });
  if (!status && status.error().is(Code::kDataLoss))
    findings.push_back({"database-damaged", "metadata.db", status.error().message()});
  else if (!status)
    return std::unexpected(std::move(status).error());
  if (!findings.empty() && findings.front().kind == "database-damaged") return findings;

  SKIFF_TRY(store.read(context, [&](Reader& reader) -> Status {
    for (const Rule& rule : kRules)
      SKIFF_TRY(read_findings(reader, rule.broken, rule.kind, rule.repair != nullptr, findings));
    return check_confirmed(reader, store.boot_id(), findings);
  }));
  return findings;
}

Result<std::vector<Finding>> repair(const Context& context, Store& store) {
  SKIFF_TRY(store.write(context, kRepair, Durability::kDurable, [](Transaction& txn) -> Status {
    for (const Rule& rule : kRules)
      if (rule.repair != nullptr)
        SKIFF_TRY_WRAP(txn.connection().exec(rule.repair), "repair {}", rule.kind);
    return ok();
  }));
  return check(context, store);
}

}  // namespace skiff::metadata
