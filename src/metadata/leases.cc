#include "metadata/labels.h"
#include "metadata/refs.h"
#include "metadata/row_filter.h"

namespace skiff::metadata::leases {
namespace {

constexpr RowFilter::Field kFields[] = {{"id", 0}};

std::unexpected<Error> not_found(const std::string& id) {
  return fail(Code::kNotFound, "lease {}: not found", id);
}

Status must_exist(Reader& reader, const std::string& ns, const std::string& id) {
  Statement find(reader, "SELECT 1 FROM leases WHERE ns = ? AND id = ?", ns, id);
  if (!SKIFF_TRY(find.exists())) return not_found(id);
  return ok();
}

// Types that a lease can hold, as containerd names them.
Status check_type(const LeaseResource& resource) {
  constexpr std::string_view kSnapshots = "snapshots/";
  bool known = resource.type == refs::kContent || resource.type == refs::kIngests ||
               resource.type == refs::kImages || resource.type == refs::kLeases ||
               (resource.type.starts_with(kSnapshots) && resource.type.size() > kSnapshots.size());
  if (!known || resource.id.empty())
    return fail(Code::kInvalidArgument,
                "a lease cannot hold {} \"{}\": use content, ingests, images, leases or "
                "snapshots/<snapshotter>, and an id",
                resource.type, resource.id);
  return ok();
}

}  // namespace

Status create(Transaction& txn, const std::string& ns, const Lease& lease) {
  if (lease.id.empty()) return fail(Code::kInvalidArgument, "the lease has no id");
  SKIFF_TRY_WRAP(check_labels(lease.labels), "lease {}", lease.id);
  auto expires = SKIFF_TRY_WRAP(label_expiry(lease.labels), "lease {}", lease.id);
  bool flat = lease.labels.contains("containerd.io/gc.flat");
  SKIFF_TRY(namespaces::ensure(txn, ns));
  Statement insert(txn, R"(
      INSERT INTO leases VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING)",
                   ns, lease.id, encode_labels(lease.labels),
                   lease.created != 0 ? lease.created : now(), expires, flat, txn.generation());
  if (SKIFF_TRY(insert.run()) == 0)
    return fail(Code::kAlreadyExists, "lease {}: already exists", lease.id);
  return ok();
}

Status remove(Transaction& txn, const std::string& ns, const std::string& id) {
  Statement statement(txn, "DELETE FROM leases WHERE ns = ? AND id = ?", ns, id);
  if (SKIFF_TRY(statement.run()) == 0) return not_found(id);
  return refs::remove_from(txn, ns, {refs::kLeases, id}, true);
}

Result<std::vector<Lease>> list(Reader& reader, const std::string& ns,
                                const std::vector<std::string>& filters) {
  RowFilter filter = SKIFF_TRY(RowFilter::compile(filters, kFields, 1));
  std::vector<Lease> leases;
  Statement rows(reader, "SELECT id, labels, created FROM leases WHERE ns = ? ORDER BY id", ns);
  while (SKIFF_TRY(rows.next())) {
    if (!filter.match(rows)) continue;
    Lease lease{.id = rows.string(0), .labels = {}, .created = rows.integer(2)};
    lease.labels = SKIFF_TRY_WRAP(decode_labels(rows.text(1)), "lease {}", lease.id);
    leases.push_back(std::move(lease));
  }
  return leases;
}

Status add_resource(Transaction& txn, const std::string& ns, const std::string& lease,
                    const LeaseResource& resource) {
  SKIFF_TRY(check_type(resource));
  SKIFF_TRY(must_exist(txn, ns, lease));
  return refs::hold(txn, ns, lease, {resource.type, resource.id});
}

Status remove_resource(Transaction& txn, const std::string& ns, const std::string& lease,
                       const LeaseResource& resource) {
  SKIFF_TRY(check_type(resource));
  SKIFF_TRY(must_exist(txn, ns, lease));
  return refs::remove(txn, ns, {refs::kLeases, lease}, {resource.type, resource.id});
}

Result<std::vector<LeaseResource>> resources(Reader& reader, const std::string& ns,
                                             const std::string& lease) {
  SKIFF_TRY(must_exist(reader, ns, lease));
  std::vector<LeaseResource> resources;
  Statement rows(reader, R"(
      SELECT to_type, to_id FROM refs WHERE ns = ? AND from_type = 'leases' AND from_id = ?
      ORDER BY to_type, to_id)",
                 ns, lease);
  while (SKIFF_TRY(rows.next())) resources.push_back({rows.string(0), rows.string(1)});
  return resources;
}

}  // namespace skiff::metadata::leases
