// Intents and tombstones: what recovery needs to know about files.
#include "metadata/rows.h"
#include "metadata/sqlite.h"

namespace skiff::metadata {

namespace intents {

Result<int64_t> put(Transaction& txn, const std::string& kind, const std::string& body) {
  Statement insert(txn, "INSERT INTO intents (kind, body) VALUES (?, ?) RETURNING id", kind, body);
  SKIFF_TRY(insert.next());
  int64_t id = insert.integer(0);
  SKIFF_TRY(insert.run());
  return id;
}

Status remove(Transaction& txn, int64_t id) {
  Statement statement(txn, "DELETE FROM intents WHERE id = ?", id);
  if (SKIFF_TRY(statement.run()) == 0) return fail(Code::kNotFound, "intent {}: not found", id);
  return ok();
}

Result<std::vector<Intent>> list(Reader& reader) {
  std::vector<Intent> intents;
  Statement rows(reader, "SELECT id, kind, body FROM intents ORDER BY id");
  while (SKIFF_TRY(rows.next()))
    intents.push_back({rows.integer(0), rows.string(1), rows.string(2)});
  return intents;
}

}  // namespace intents

namespace tombstones {

Status put(Transaction& txn, const std::string& kind, const std::string& path) {
  Statement insert(txn, "INSERT INTO tombstones (kind, path) VALUES (?, ?) ON CONFLICT DO NOTHING",
                   kind, path);
  SKIFF_TRY(insert.run());
  return ok();
}

Status remove(Transaction& txn, int64_t id) {
  Statement statement(txn, "DELETE FROM tombstones WHERE id = ?", id);
  if (SKIFF_TRY(statement.run()) == 0) return fail(Code::kNotFound, "tombstone {}: not found", id);
  return ok();
}

Result<std::vector<Tombstone>> list(Reader& reader) {
  std::vector<Tombstone> tombstones;
  Statement rows(reader, "SELECT id, kind, path FROM tombstones ORDER BY id");
  while (SKIFF_TRY(rows.next()))
    tombstones.push_back({rows.integer(0), rows.string(1), rows.string(2)});
  return tombstones;
}

}  // namespace tombstones
}  // namespace skiff::metadata
