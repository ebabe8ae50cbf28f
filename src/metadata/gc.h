// Garbage collection: mark and sweep over images, leases, blobs, snapshots and ingests, namespace
// by namespace. docs/gc.md tells the whole story.
//
// Mark runs on one read snapshot and blocks no writer. Roots: images and leases (until the time in
// their label containerd.io/gc.expire), containers, rows with the label containerd.io/gc.root,
// ingests without a lease for 24 hours. Edges: an image's target, a snapshot's parent, a
// container's snapshot, a lease's resources; labels containerd.io/gc.ref.content[.*],
// gc.ref.image[.*] and gc.ref.snapshot.<snapshotter>. A lease labelled gc.flat holds its resources
// and their parents, not what their labels point at.
//
// Sweep: rows are deleted in short transactions;
// each first looks up the graph from the row and leaves it where that ends at a root of now, or at
// a row that was touched since the mark (put, prepare, commit and whatever points at a row touch
// it). Files go after rows, by tombstones.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "base/context.h"
#include "metadata/store.h"

namespace skiff::metadata {

struct GcStats {
  uint64_t images = 0;  // expired ones
  uint64_t leases = 0;  // expired ones
  uint64_t blobs = 0;   // names in a namespace; the bytes go with the last
  uint64_t snapshots = 0;
  uint64_t ingests = 0;
  uint64_t kept = 0;  // dead at the mark, alive again at the sweep
  std::chrono::nanoseconds mark{};
  std::chrono::nanoseconds sweep{};
};

// One collection. Safe beside any other work; two at once are one after the other.
Result<GcStats> collect(const Context& context, Store& store);

// Removes what tombstones stand for. `remove` deletes one tombstone's files (kind, path) and is
// called without any lock or transaction, after the row's removal is on disk; a missing file is no
// error. A failure keeps the tombstone for the next round; the first one is returned at the end.
//
// The bytes of a blob may come back between the list and the call: whoever puts blobs holds a lock
// of the digest's over rename and put, and `remove` looks under that lock whether a row is there
// again. (put takes the tombstone away.) Snapshot and ingest ids are never used twice.
Status sweep_tombstones(
    const Context& context, Store& store,
    const std::function<Status(const std::string& kind, const std::string& path)>& remove);

}  // namespace skiff::metadata
