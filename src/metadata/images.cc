#include "metadata/labels.h"
#include "metadata/refs.h"
#include "metadata/row_filter.h"

namespace skiff::metadata::images {
namespace {

constexpr RowFilter::Field kFields[] = {{"name", 0}, {"target.digest", 1}, {"target.mediatype", 6}};

Result<Image> read(const Statement& row) {
  Image image;
  image.name = row.string(0);
  image.digest = SKIFF_TRY_WRAP(row.digest(1), "image {}", image.name);
  image.target = row.string(2);
  image.labels = SKIFF_TRY_WRAP(decode_labels(row.text(3)), "image {}", image.name);
  image.created = row.integer(4);
  image.updated = row.integer(5);
  return image;
}

Status insert(Transaction& txn, const std::string& ns, const Image& image, bool replace) {
  if (image.name.empty()) return fail(Code::kInvalidArgument, "the image has no name");
  if (image.digest.empty())
    return fail(Code::kInvalidArgument, "image {}: its target has no digest", image.name);
  SKIFF_TRY_WRAP(check_labels(image.labels), "image {}", image.name);
  auto expires = SKIFF_TRY_WRAP(label_expiry(image.labels), "image {}", image.name);
  SKIFF_TRY(namespaces::ensure(txn, ns));
  Time time = now();
  Statement statement(txn, R"(
      INSERT INTO images (ns, name, digest, target, labels, created, updated, expires, touched,
                          media_type)
      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9,
              coalesce(iif(json_valid(?4), json_extract(?4, '$.mediaType'), ''), ''))
      ON CONFLICT (ns, name) DO UPDATE SET digest = excluded.digest, target = excluded.target,
        media_type = excluded.media_type, labels = excluded.labels, updated = excluded.updated,
        expires = excluded.expires, touched = excluded.touched WHERE ?10)",
                      ns, image.name, image.digest, image.target, encode_labels(image.labels),
                      image.created != 0 ? image.created : time,
                      image.updated != 0 ? image.updated : time, expires, txn.generation(),
                      replace);
  if (SKIFF_TRY(statement.run()) == 0)
    return fail(Code::kAlreadyExists, "image {}: already exists", image.name);
  refs::Node node{refs::kImages, image.name};
  SKIFF_TRY(refs::remove_from(txn, ns, node, true));
  SKIFF_TRY(refs::add(txn, ns, node, {refs::kContent, image.digest.str()}, true));
  return refs::set_label_edges(txn, ns, node, image.labels);
}

}  // namespace

Result<Image> get(Reader& reader, const std::string& ns, const std::string& name) {
  Statement row(reader, R"(
      SELECT name, digest, target, labels, created, updated FROM images WHERE ns = ? AND name = ?)",
                ns, name);
  if (!SKIFF_TRY(row.next())) return fail(Code::kNotFound, "image {}: not found", name);
  return read(row);
}

Result<std::vector<Image>> list(Reader& reader, const std::string& ns,
                                const std::vector<std::string>& filters) {
  RowFilter filter = SKIFF_TRY(RowFilter::compile(filters, kFields, 3));
  std::vector<Image> images;
  Statement rows(reader, R"(
      SELECT name, digest, target, labels, created, updated, media_type
      FROM images WHERE ns = ? ORDER BY name)",
                 ns);
  while (SKIFF_TRY(rows.next()))
    if (filter.match(rows)) images.push_back(SKIFF_TRY(read(rows)));
  return images;
}

Status put(Transaction& txn, const std::string& ns, const Image& image) {
  return insert(txn, ns, image, true);
}

Status create(Transaction& txn, const std::string& ns, const Image& image) {
  return insert(txn, ns, image, false);
}

Status remove(Transaction& txn, const std::string& ns, const std::string& name) {
  Statement statement(txn, "DELETE FROM images WHERE ns = ? AND name = ?", ns, name);
  if (SKIFF_TRY(statement.run()) == 0) return fail(Code::kNotFound, "image {}: not found", name);
  refs::Node node{refs::kImages, name};
  SKIFF_TRY(refs::remove_from(txn, ns, node, true));
  return refs::remove_from(txn, ns, node, false);
}

}  // namespace skiff::metadata::images
