#include "metadata/refs.h"

namespace skiff::metadata::refs {
namespace {

constexpr std::string_view kSnapshotPrefix = "snapshots/";
constexpr std::string_view kRefPrefix = "containerd.io/gc.ref.";

// The type that a label "containerd.io/gc.ref.<...>" points at, empty when it is no such label.
// Content and images may carry any suffix (".0", "/config"); a snapshotter's name ends at a slash.
std::string target_type(std::string_view key) {
  if (!key.starts_with(kRefPrefix)) return {};
  key.remove_prefix(kRefPrefix.size());
  auto is = [&](std::string_view word) {
    return key.starts_with(word) &&
           (key.size() == word.size() || key[word.size()] == '.' || key[word.size()] == '/');
  };
  if (is("content")) return std::string(kContent);
  if (is("image")) return std::string(kImages);
  if (!key.starts_with("snapshot.")) return {};
  key.remove_prefix(sizeof "snapshot." - 1);
  return snapshots(key.substr(0, key.find('/')));
}

}  // namespace

std::string snapshots(std::string_view snapshotter) {
  return fmt::format("{}{}", kSnapshotPrefix, snapshotter);
}

Status add(Transaction& txn, std::string_view ns, Node from, Node to, bool structural) {
  Statement insert(txn, "INSERT INTO refs VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", ns,
                   from.type, from.id, to.type, to.id, structural);
  SKIFF_TRY(insert.run());
  return touch(txn, ns, to);
}

Status remove(Transaction& txn, std::string_view ns, Node from, Node to) {
  Statement statement(txn, R"(
    DELETE FROM refs WHERE ns = ? AND from_type = ? AND from_id = ? AND to_type = ? AND to_id = ?)",
                      ns, from.type, from.id, to.type, to.id);
  SKIFF_TRY(statement.run());
  return ok();
}

Status remove_from(Transaction& txn, std::string_view ns, Node from, bool structural) {
  Statement statement(
      txn, "DELETE FROM refs WHERE ns = ? AND from_type = ? AND from_id = ? AND structural = ?", ns,
      from.type, from.id, structural);
  SKIFF_TRY(statement.run());
  return ok();
}

Status set_label_edges(Transaction& txn, std::string_view ns, Node from, const Labels& labels) {
  SKIFF_TRY(remove_from(txn, ns, from, false));
  for (const auto& [key, value] : labels) {
    std::string type = target_type(key);
    if (!type.empty()) SKIFF_TRY(add(txn, ns, from, {type, value}, false));
  }
  return ok();
}

Status hold(Transaction& txn, std::string_view ns, const std::string& lease, Node node) {
  if (lease.empty()) return ok();
  Statement find(txn, "SELECT 1 FROM leases WHERE ns = ? AND id = ?", ns, lease);
  if (!SKIFF_TRY(find.exists())) return fail(Code::kNotFound, "lease {}: not found", lease);
  return add(txn, ns, {kLeases, lease}, node, true);
}

Status touch(Transaction& txn, std::string_view ns, Node node) {
  uint64_t generation = txn.generation();
  if (node.type == kContent) {
    Statement touch(txn, "UPDATE blob_names SET touched = ? WHERE ns = ? AND digest = ?",
                    generation, ns, node.id);
    SKIFF_TRY(touch.run());
  } else if (node.type.starts_with(kSnapshotPrefix)) {
    Statement touch(
        txn, "UPDATE snapshot_names SET touched = ? WHERE ns = ? AND snapshotter = ? AND key = ?",
        generation, ns, node.type.substr(kSnapshotPrefix.size()), node.id);
    SKIFF_TRY(touch.run());
  } else if (node.type == kIngests) {
    Statement touch(txn, "UPDATE ingests SET touched = ? WHERE ns = ? AND ref = ?", generation, ns,
                    node.id);
    SKIFF_TRY(touch.run());
  } else if (node.type == kImages) {
    Statement touch(txn, "UPDATE images SET touched = ? WHERE ns = ? AND name = ?", generation, ns,
                    node.id);
    SKIFF_TRY(touch.run());
  } else if (node.type == kLeases) {
    Statement touch(txn, "UPDATE leases SET touched = ? WHERE ns = ? AND id = ?", generation, ns,
                    node.id);
    SKIFF_TRY(touch.run());
  }
  return ok();
}

}  // namespace skiff::metadata::refs
