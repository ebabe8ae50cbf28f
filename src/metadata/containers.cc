#include "metadata/labels.h"
#include "metadata/refs.h"
#include "metadata/row_filter.h"

namespace skiff::metadata::containers {
namespace {

constexpr RowFilter::Field kFields[] = {{"id", 0}, {"name", 1}, {"image", 2}};

std::unexpected<Error> not_found(const std::string& id) {
  return fail(Code::kNotFound, "container {}: not found", id);
}

Result<ContainerRow> read(const Statement& row) {
  ContainerRow container;
  container.id = row.string(0);
  container.name = row.string(1);
  container.image = row.string(2);
  container.snapshotter = row.string(3);
  container.snapshot_key = row.string(4);
  container.spec = row.string(5);
  container.state = row.string(6);
  container.labels = SKIFF_TRY_WRAP(decode_labels(row.text(7)), "container {}", container.id);
  container.created = row.integer(8);
  container.updated = row.integer(9);
  return container;
}

// The container holds its snapshot; its labels may point at more.
Status set_edges(Transaction& txn, const std::string& ns, const ContainerRow& row) {
  refs::Node node{refs::kContainers, row.id};
  SKIFF_TRY(refs::remove_from(txn, ns, node, true));
  if (!row.snapshot_key.empty())
    SKIFF_TRY(refs::add(txn, ns, node, {refs::snapshots(row.snapshotter), row.snapshot_key}, true));
  return refs::set_label_edges(txn, ns, node, row.labels);
}

std::unexpected<Error> explain(Error error, const ContainerRow& row) {
  if (!error.is(Code::kAlreadyExists)) return std::unexpected(std::move(error));
  return fail(Code::kAlreadyExists, "container {}: its id or its name \"{}\" is taken", row.id,
              row.name);
}

}  // namespace

Result<ContainerRow> get(Reader& reader, const std::string& ns, const std::string& id) {
  Statement row(reader, R"(
      SELECT id, name, image, snapshotter, snapshot_key, spec, state, labels, created, updated
      FROM containers WHERE ns = ? AND id = ?)",
                ns, id);
  if (!SKIFF_TRY(row.next())) return not_found(id);
  return read(row);
}

Result<std::vector<ContainerRow>> list(Reader& reader, const std::string& ns,
                                       const std::vector<std::string>& filters) {
  RowFilter filter = SKIFF_TRY(RowFilter::compile(filters, kFields, 7));
  std::vector<ContainerRow> containers;
  Statement rows(reader, R"(
      SELECT id, name, image, snapshotter, snapshot_key, spec, state, labels, created, updated
      FROM containers WHERE ns = ? ORDER BY id)",
                 ns);
  while (SKIFF_TRY(rows.next()))
    if (filter.match(rows)) containers.push_back(SKIFF_TRY(read(rows)));
  return containers;
}

Status create(Transaction& txn, const std::string& ns, const ContainerRow& row) {
  if (row.id.empty()) return fail(Code::kInvalidArgument, "the container has no id");
  SKIFF_TRY_WRAP(check_labels(row.labels), "container {}", row.id);
  SKIFF_TRY(namespaces::ensure(txn, ns));
  Time time = now();
  Statement insert(txn, "INSERT INTO containers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", ns,
                   row.id, row.name, row.image, row.snapshotter, row.snapshot_key, row.spec,
                   row.state, encode_labels(row.labels), row.created != 0 ? row.created : time,
                   row.updated != 0 ? row.updated : time);
  if (auto inserted = insert.run(); !inserted) return explain(std::move(inserted).error(), row);
  return set_edges(txn, ns, row);
}

Status update(Transaction& txn, const std::string& ns, const ContainerRow& row) {
  SKIFF_TRY_WRAP(check_labels(row.labels), "container {}", row.id);
  Statement update(txn, R"(
      UPDATE containers SET name = ?, image = ?, snapshotter = ?, snapshot_key = ?, spec = ?,
        state = ?, labels = ?, updated = ? WHERE ns = ? AND id = ?)",
                   row.name, row.image, row.snapshotter, row.snapshot_key, row.spec, row.state,
                   encode_labels(row.labels), row.updated != 0 ? row.updated : now(), ns, row.id);
  auto updated = update.run();
  if (!updated) return explain(std::move(updated).error(), row);
  if (*updated == 0) return not_found(row.id);
  return set_edges(txn, ns, row);
}

Status remove(Transaction& txn, const std::string& ns, const std::string& id) {
  Statement statement(txn, "DELETE FROM containers WHERE ns = ? AND id = ?", ns, id);
  if (SKIFF_TRY(statement.run()) == 0) return not_found(id);
  refs::Node node{refs::kContainers, id};
  SKIFF_TRY(refs::remove_from(txn, ns, node, true));
  return refs::remove_from(txn, ns, node, false);
}

}  // namespace skiff::metadata::containers
