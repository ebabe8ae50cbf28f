// The graph of who keeps whom (table refs), as the row functions maintain it. Internal to this
// folder.
#pragma once

#include <string>
#include <string_view>

#include "metadata/rows.h"
#include "metadata/sqlite.h"

namespace skiff::metadata::refs {

inline constexpr std::string_view kContent = "content";
inline constexpr std::string_view kImages = "images";
inline constexpr std::string_view kIngests = "ingests";
inline constexpr std::string_view kLeases = "leases";
inline constexpr std::string_view kContainers = "containers";
// "snapshots/<snapshotter>", as leases name it.
std::string snapshots(std::string_view snapshotter);

// A row within a namespace. Views: lives as long as what it was made from.
struct Node {
  std::string_view type;
  std::string_view id;
};

// Structural edges hold below a flat lease too. Bumps the target's touched generation.
Status add(Transaction& txn, std::string_view ns, Node from, Node to, bool structural);
Status remove(Transaction& txn, std::string_view ns, Node from, Node to);
// All edges of one kind that leave the node.
Status remove_from(Transaction& txn, std::string_view ns, Node from, bool structural);
// The edges that a row's labels ask for, instead of those they asked for before.
Status set_label_edges(Transaction& txn, std::string_view ns, Node from, const Labels& labels);
// Makes the lease hold the node; an empty lease is none. NotFound when there is no such lease.
Status hold(Transaction& txn, std::string_view ns, const std::string& lease, Node node);
// Says that the row has had a reason to live in this generation: a collection whose mark is older
// leaves it, and what it keeps, alone. A missing row is no error.
Status touch(Transaction& txn, std::string_view ns, Node node);

}  // namespace skiff::metadata::refs
