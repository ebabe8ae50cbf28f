#include "metadata/labels.h"
#include "metadata/refs.h"
#include "metadata/row_filter.h"

namespace skiff::metadata::blobs {
namespace {

constexpr RowFilter::Field kFields[] = {{"digest", 0}, {"size", 1}};

// digest, size, labels, created, updated, unconfirmed_boot
Result<Blob> read(const Statement& row) {
  Blob blob;
  blob.digest = SKIFF_TRY_WRAP(row.digest(0), "blob");
  blob.size = row.unsigned_integer(1);
  blob.labels = SKIFF_TRY_WRAP(decode_labels(row.text(2)), "blob {}", blob.digest);
  blob.created = row.integer(3);
  blob.updated = row.integer(4);
  blob.unconfirmed_boot = row.string(5);
  return blob;
}

Result<std::vector<Blob>> read_all(Statement& rows) {
  std::vector<Blob> blobs;
  while (SKIFF_TRY(rows.next())) blobs.push_back(SKIFF_TRY(read(rows)));
  return blobs;
}

std::string file_of(const Digest& digest) {
  return fmt::format("content/blobs/{}/{}", algorithm_name(digest.algorithm()), digest.hex());
}

std::unexpected<Error> not_found(const Digest& digest) {
  return fail(Code::kNotFound, "content {}: not found", digest);
}

Status write_labels(Transaction& txn, const std::string& ns, const Digest& digest,
                    const Labels& labels, Time updated) {
  SKIFF_TRY_WRAP(check_labels(labels), "content {}", digest);
  Statement update(txn, R"(
      UPDATE blob_names SET labels = ?, updated = ?, root = ?, touched = ?
      WHERE ns = ? AND digest = ?)",
                   encode_labels(labels), updated, label_root(labels), txn.generation(), ns,
                   digest);
  if (SKIFF_TRY(update.run()) == 0) return not_found(digest);
  return refs::set_label_edges(txn, ns, {refs::kContent, digest.str()}, labels);
}

// The shared row. One that is there stands for the bytes that are there: confirmed ones stay so.
Status put_shared(Transaction& txn, const Blob& blob, Time created) {
  Statement find(txn, "SELECT size, unconfirmed_boot FROM blobs WHERE digest = ?", blob.digest);
  if (SKIFF_TRY(find.next())) {
    if (find.unsigned_integer(0) != blob.size)
      return fail(Code::kFailedPrecondition, "content {}: has {} bytes, not {}", blob.digest,
                  find.integer(0), blob.size);
    if (find.text(1).empty() || find.text(1) == blob.unconfirmed_boot) return ok();
    return set_unconfirmed(txn, blob.digest, blob.unconfirmed_boot);
  }
  Statement insert(txn, "INSERT INTO blobs VALUES (?, ?, ?, ?, ?)", blob.digest, blob.size, created,
                   txn.generation(), blob.unconfirmed_boot);
  SKIFF_TRY(insert.run());
  Statement bury(txn, "DELETE FROM tombstones WHERE kind = 'blob' AND path = ?",
                 file_of(blob.digest));
  SKIFF_TRY(bury.run());
  return ok();
}

}  // namespace

Result<Blob> get(Reader& reader, const std::string& ns, const Digest& digest) {
  Statement row(reader, R"(
      SELECT digest, size, n.labels, n.created, n.updated, unconfirmed_boot
      FROM blob_names n JOIN blobs USING (digest) WHERE ns = ? AND digest = ?)",
                ns, digest);
  if (!SKIFF_TRY(row.next())) return not_found(digest);
  return read(row);
}

Result<Blob> get_shared(Reader& reader, const Digest& digest) {
  Statement row(reader, R"(
      SELECT digest, size, '{}', created, created, unconfirmed_boot FROM blobs WHERE digest = ?)",
                digest);
  if (!SKIFF_TRY(row.next())) return not_found(digest);
  return read(row);
}

Result<std::vector<Blob>> list(Reader& reader, const std::string& ns,
                               const std::vector<std::string>& filters) {
  RowFilter filter = SKIFF_TRY(RowFilter::compile(filters, kFields, 2));
  std::vector<Blob> blobs;
  Statement rows(reader, R"(
      SELECT digest, size, n.labels, n.created, n.updated, unconfirmed_boot
      FROM blob_names n JOIN blobs USING (digest) WHERE ns = ? ORDER BY digest)",
                 ns);
  while (SKIFF_TRY(rows.next()))
    if (filter.match(rows)) blobs.push_back(SKIFF_TRY(read(rows)));
  return blobs;
}

Result<std::vector<Blob>> list_shared(Reader& reader) {
  Statement rows(reader, R"(
      SELECT digest, size, '{}', created, created, unconfirmed_boot FROM blobs ORDER BY digest)");
  return read_all(rows);
}

Status put(Transaction& txn, const std::string& ns, const Blob& blob, const std::string& lease) {
  SKIFF_TRY(namespaces::ensure(txn, ns));
  Time created = blob.created != 0 ? blob.created : now();
  Time updated = blob.updated != 0 ? blob.updated : created;
  SKIFF_TRY(put_shared(txn, blob, created));
  auto before = get(txn, ns, blob.digest);
  if (!before && !before.error().is(Code::kNotFound))
    return std::unexpected(std::move(before).error());
  Labels labels = before ? before->labels : Labels();
  for (const auto& [key, value] : blob.labels) labels[key] = value;
  if (!before) {
    Statement insert(txn, "INSERT INTO blob_names VALUES (?, ?, '{}', ?, ?, 0, ?)", ns, blob.digest,
                     created, updated, txn.generation());
    SKIFF_TRY(insert.run());
  }
  if (!before || labels != before->labels) {
    SKIFF_TRY(write_labels(txn, ns, blob.digest, labels, updated));
  } else {
    SKIFF_TRY(refs::touch(txn, ns, {refs::kContent, blob.digest.str()}));
  }
  return refs::hold(txn, ns, lease, {refs::kContent, blob.digest.str()});
}

Status set_labels(Transaction& txn, const std::string& ns, const Digest& digest,
                  const Labels& labels) {
  return write_labels(txn, ns, digest, labels, now());
}

Status remove(Transaction& txn, const std::string& ns, const Digest& digest) {
  Statement name(txn, "DELETE FROM blob_names WHERE ns = ? AND digest = ?", ns, digest);
  if (SKIFF_TRY(name.run()) == 0) return not_found(digest);
  SKIFF_TRY(refs::remove_from(txn, ns, {refs::kContent, digest.str()}, false));
  Statement shared(txn, R"(
      DELETE FROM blobs WHERE digest = ?1
      AND NOT EXISTS (SELECT 1 FROM blob_names WHERE digest = ?1))",
                   digest);
  if (SKIFF_TRY(shared.run()) == 0) return ok();
  return tombstones::put(txn, "blob", file_of(digest));
}

Status set_unconfirmed(Transaction& txn, const Digest& digest, const std::string& boot) {
  Statement update(txn, "UPDATE blobs SET unconfirmed_boot = ?, written = ? WHERE digest = ?", boot,
                   txn.generation(), digest);
  if (SKIFF_TRY(update.run()) == 0) return not_found(digest);
  return ok();
}

Status confirm(Transaction& txn, const std::string& boot, uint64_t generation) {
  Statement update(
      txn, "UPDATE blobs SET unconfirmed_boot = '' WHERE unconfirmed_boot = ? AND written <= ?",
      boot, generation);
  SKIFF_TRY(update.run());
  return ok();
}

Result<std::vector<Blob>> suspects(Reader& reader, const std::string& current_boot) {
  Statement rows(reader, R"(
      SELECT digest, size, '{}', created, created, unconfirmed_boot FROM blobs
      WHERE unconfirmed_boot <> '' AND unconfirmed_boot <> ? ORDER BY digest)",
                 current_boot);
  return read_all(rows);
}

}  // namespace skiff::metadata::blobs
