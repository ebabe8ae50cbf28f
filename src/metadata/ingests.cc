#include "metadata/refs.h"
#include "metadata/sqlite.h"

namespace skiff::metadata::ingests {
namespace {

// Without a lease an ingest is kept this long after its last progress, as containerd keeps it.
constexpr int64_t kKept = int64_t{24} * 3600 * 1'000'000'000;

Result<Ingest> read(const Statement& row) {
  Ingest ingest;
  ingest.id = row.string(0);
  ingest.ref = row.string(1);
  ingest.offset = row.unsigned_integer(2);
  ingest.total = row.unsigned_integer(3);
  if (!row.text(4).empty())
    ingest.expected = SKIFF_TRY_WRAP(row.digest(4), "ingest {}", ingest.ref);
  ingest.boot = row.string(5);
  ingest.started = row.integer(6);
  ingest.updated = row.integer(7);
  return ingest;
}

Result<std::vector<Ingest>> read_all(Statement& rows) {
  std::vector<Ingest> ingests;
  while (SKIFF_TRY(rows.next())) ingests.push_back(SKIFF_TRY(read(rows)));
  return ingests;
}

// The row goes, and what leases held of it; returns its id.
Result<std::string> erase(Transaction& txn, const std::string& ns, const std::string& ref) {
  Statement statement(txn, "DELETE FROM ingests WHERE ns = ? AND ref = ? RETURNING id", ns, ref);
  if (!SKIFF_TRY(statement.next())) return fail(Code::kNotFound, "ingest {}: not found", ref);
  std::string id = statement.string(0);
  SKIFF_TRY(statement.run());
  Statement held(txn, "DELETE FROM refs WHERE ns = ? AND to_type = 'ingests' AND to_id = ?", ns,
                 ref);
  SKIFF_TRY(held.run());
  return id;
}

}  // namespace

Result<Ingest> get(Reader& reader, const std::string& ns, const std::string& ref) {
  Statement row(reader, R"(
      SELECT id, ref, offset, total, expected, boot, started, updated FROM ingests
      WHERE ns = ? AND ref = ?)",
                ns, ref);
  if (!SKIFF_TRY(row.next())) return fail(Code::kNotFound, "ingest {}: not found", ref);
  return read(row);
}

Result<std::vector<Ingest>> list(Reader& reader, const std::string& ns) {
  Statement rows(reader, R"(
      SELECT id, ref, offset, total, expected, boot, started, updated FROM ingests
      WHERE ns = ? ORDER BY ref)",
                 ns);
  return read_all(rows);
}

Result<std::vector<Ingest>> list_all(Reader& reader) {
  Statement rows(reader, R"(
      SELECT id, ref, offset, total, expected, boot, started, updated FROM ingests
      ORDER BY ns, ref)");
  return read_all(rows);
}

Status put(Transaction& txn, const std::string& ns, const Ingest& ingest,
           const std::string& lease) {
  if (ingest.ref.empty()) return fail(Code::kInvalidArgument, "the ingest has no ref");
  SKIFF_TRY(namespaces::ensure(txn, ns));
  Time time = now();
  Time updated = ingest.updated != 0 ? ingest.updated : time;
  // One that a lease holds (expires 0) is not given a date by a write that names no lease.
  Statement statement(txn, R"(
      INSERT INTO ingests (ns, ref, id, offset, total, expected, boot, started, updated, expires,
                           touched)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
      ON CONFLICT (ns, ref) DO UPDATE SET id = ?3, offset = ?4, total = ?5, expected = ?6, boot = ?7,
        started = ?8, updated = ?9, expires = iif(expires = 0, 0, ?10), touched = ?11)",
                      ns, ingest.ref, ingest.id, ingest.offset, ingest.total, ingest.expected,
                      ingest.boot, ingest.started != 0 ? ingest.started : time, updated,
                      lease.empty() ? updated + kKept : 0, txn.generation());
  SKIFF_TRY_WRAP(statement.run(), "ingest {}", ingest.ref);
  return refs::hold(txn, ns, lease, {refs::kIngests, ingest.ref});
}

Status remove(Transaction& txn, const std::string& ns, const std::string& ref) {
  std::string id = SKIFF_TRY(erase(txn, ns, ref));
  return tombstones::put(txn, "ingest", fmt::format("content/ingest/{}", id));
}

Status finish(Transaction& txn, const std::string& ns, const std::string& ref) {
  SKIFF_TRY(erase(txn, ns, ref));
  return ok();
}

}  // namespace skiff::metadata::ingests
