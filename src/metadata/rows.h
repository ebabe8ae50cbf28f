// The rows, as values, and the functions that read and write them inside a transaction. Names are
// per namespace; bytes (blobs, layers) are shared below the namespaces.
//
// Each function is a short SQL statement or two and knows no file. Errors name the row. A row is
// written once its files are complete: rows may say that bytes are there, never the reverse.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/digest.h"
#include "metadata/store.h"

namespace skiff::metadata {

using Labels = std::map<std::string, std::string>;
// Nanoseconds since 1970, UTC.
using Time = int64_t;
Time now();

// What an update may change, with containerd's field masks: empty = all labels replaced;
// "labels" likewise; "labels.<key>" = that label (an empty value removes it).
using FieldPaths = std::vector<std::string>;
// The labels after an update. InvalidArgument for a path that is not a label's. Labels as in
// containerd: key + value at most 4096 bytes.
Result<Labels> updated_labels(const Labels& before, const Labels& given, const FieldPaths& paths);

// --- namespaces -------------------------------------------------------------------------------
namespace namespaces {
Status ensure(Transaction& txn, const std::string& name);  // created on first use
Result<std::vector<std::string>> list(Reader& reader);
}  // namespace namespaces

// --- images -----------------------------------------------------------------------------------
struct Image {
  std::string name;    // a canonical reference, or any name a client gave
  std::string target;  // the descriptor as JSON text
  Digest digest;       // the target's
  Labels labels;
  Time created = 0;
  Time updated = 0;
};
namespace images {
Result<Image> get(Reader& reader, const std::string& ns, const std::string& name);
// Every image whose filters match (filter.h), by name. No filters: all.
Result<std::vector<Image>> list(Reader& reader, const std::string& ns,
                                const std::vector<std::string>& filters);
Status put(Transaction& txn, const std::string& ns, const Image& image);  // create or replace
Status create(Transaction& txn, const std::string& ns, const Image& image);
Status remove(Transaction& txn, const std::string& ns, const std::string& name);
}  // namespace images

// --- blobs ------------------------------------------------------------------------------------
struct Blob {
  Digest digest;
  uint64_t size = 0;
  Labels labels;  // of the asking namespace
  Time created = 0;
  Time updated = 0;
  // Empty once a sync has confirmed the bytes, else the boot in which they were written.
  std::string unconfirmed_boot;
};
namespace blobs {
// NotFound when the namespace has no name for the blob, though others may.
Result<Blob> get(Reader& reader, const std::string& ns, const Digest& digest);
// The shared row alone, without a namespace's labels.
Result<Blob> get_shared(Reader& reader, const Digest& digest);
Result<std::vector<Blob>> list(Reader& reader, const std::string& ns,
                               const std::vector<std::string>& filters);
// Gives the namespace a name for the blob (and the shared row when it is new); merges labels; adds
// it to the lease when there is one. Bumps the touched generation. A shared row that is there keeps
// its confirmation; FailedPrecondition when it has another size. `created`, `updated` 0: now.
Status put(Transaction& txn, const std::string& ns, const Blob& blob, const std::string& lease);
Status set_labels(Transaction& txn, const std::string& ns, const Digest& digest,
                  const Labels& labels);
// Takes the namespace's name away; with the last name the shared row goes and a tombstone stands
// for the file (gc.h says how a file that comes back meanwhile is kept).
Status remove(Transaction& txn, const std::string& ns, const Digest& digest);
// Every shared row, by digest, without a namespace's labels.
Result<std::vector<Blob>> list_shared(Reader& reader);
// The bytes were written (again) in `boot`; empty: they are known to be on disk.
Status set_unconfirmed(Transaction& txn, const Digest& digest, const std::string& boot);
// Clears unconfirmed_boot of every blob that was written in `boot` up to `generation`.
Status confirm(Transaction& txn, const std::string& boot, uint64_t generation);
// Blobs whose bytes were written in another boot and never confirmed, or whose sync failed.
Result<std::vector<Blob>> suspects(Reader& reader, const std::string& current_boot);
}  // namespace blobs

// --- ingests ----------------------------------------------------------------------------------
struct Ingest {
  std::string id;       // the file's name below content/ingest
  std::string ref;      // the writer's key, per namespace
  uint64_t offset = 0;  // the contiguous prefix that was written
  uint64_t total = 0;   // 0: not known
  Digest expected;      // empty: not known
  std::string boot;     // the offset is trusted in this boot only
  Time started = 0;
  Time updated = 0;
};
namespace ingests {
Result<Ingest> get(Reader& reader, const std::string& ns, const std::string& ref);
Result<std::vector<Ingest>> list(Reader& reader, const std::string& ns);
Result<std::vector<Ingest>> list_all(Reader& reader);
// Creates or replaces. Without a lease it is kept for 24 hours after `updated`, else as long as the
// lease holds it.
Status put(Transaction& txn, const std::string& ns, const Ingest& ingest, const std::string& lease);
Status remove(Transaction& txn, const std::string& ns,
              const std::string& ref);  // leaves a tombstone
// The same, without a tombstone: the file has become a blob.
Status finish(Transaction& txn, const std::string& ns, const std::string& ref);
}  // namespace ingests

// --- snapshots --------------------------------------------------------------------------------
enum class SnapshotKind { kView = 1, kActive = 2, kCommitted = 3 };
struct Snapshot {
  int64_t id = 0;  // short integer, names the folder <root>/snapshots/<snapshotter>/<id>
  std::string snapshotter;
  std::string key;     // the name in the namespace; committed layers: the chain ID
  std::string parent;  // the parent's key in the namespace; empty: none
  SnapshotKind kind = SnapshotKind::kActive;
  Labels labels;
  Time created = 0;
  Time updated = 0;
  int64_t parent_id = 0;  // 0: none
  std::string unconfirmed_boot;
  uint64_t usage_bytes = 0;  // of committed ones
  uint64_t usage_inodes = 0;
  // Where a layer of an image comes from, as the engine recorded it (JSON); empty: nobody said.
  std::string layer_source;
};
namespace snapshots {
Result<Snapshot> get(Reader& reader, const std::string& ns, const std::string& snapshotter,
                     const std::string& key);
// The shared row of a committed chain, whichever namespace made it: NotFound when there is none.
Result<Snapshot> find_committed(Reader& reader, const std::string& snapshotter,
                                const std::string& chain_id);
Result<std::vector<Snapshot>> list(Reader& reader, const std::string& ns,
                                   const std::string& snapshotter,
                                   const std::vector<std::string>& filters);
// Ids from the snapshot up to its lowest ancestor (itself first).
Result<std::vector<int64_t>> chain(Reader& reader, int64_t id);
// An id for a snapshot whose folder is made before its row.
Result<int64_t> reserve_id(Transaction& txn);
// A new active or view snapshot; returns its id: the one given, which was reserved before, or where
// that is 0 a new one. AlreadyExists when the key is taken, NotFound when the namespace has no such
// parent, InvalidArgument when that is not committed. `parent` empty: none. Adds it to the lease
// when there is one; bumps the touched generation.
Result<int64_t> create(Transaction& txn, const std::string& ns, const Snapshot& snapshot,
                       const std::string& lease);
struct CommitRow {
  std::string name;
  std::optional<std::string> parent;  // set: rebase onto this committed key ("" none)
  Labels labels;
  std::string unconfirmed_boot;  // empty: already on disk
  uint64_t usage_bytes = 0;
  uint64_t usage_inodes = 0;
  std::string layer_source;
  // Set by the engine alone, once every diff ID below was verified: the row may then serve other
  // namespaces (find_committed, adopt). A client's own commit stays its namespace's, as does one
  // that comes second.
  Digest verified_chain_id;
};
// Turns the active `key` into the committed `row.name`, its labels replaced by the row's; leases
// that held the key hold the name. AlreadyExists when the name is taken, FailedPrecondition when
// the key is not active.
Status commit(Transaction& txn, const std::string& ns, const std::string& snapshotter,
              const std::string& key, const CommitRow& row, const std::string& lease);
// Gives another namespace the name of a committed chain that exists already, ancestors included.
// NotFound when there is no such chain, AlreadyExists when the namespace has made a snapshot of one
// of these names itself.
Status adopt(Transaction& txn, const std::string& ns, const std::string& snapshotter,
             const std::string& chain_id, const Labels& labels, const std::string& lease);
Status set_labels(Transaction& txn, const std::string& ns, const std::string& snapshotter,
                  const std::string& key, const Labels& labels);
// FailedPrecondition when it has children. The last name takes the shared row and leaves a
// tombstone for the folder.
Status remove(Transaction& txn, const std::string& ns, const std::string& snapshotter,
              const std::string& key);
// Every shared row, by id, `key` being the verified chain ID or empty.
Result<std::vector<Snapshot>> list_shared(Reader& reader, const std::string& snapshotter);
// Clears unconfirmed_boot of every snapshot committed (or written again) in `boot` up to
// `generation`; those of another boot wait until they are made anew.
Status confirm(Transaction& txn, const std::string& boot, uint64_t generation);
// The bytes of a committed snapshot were made anew in this boot; they wait for confirmation again.
Status rewritten(Transaction& txn, int64_t id, const std::string& boot);
// Committed snapshots written in another boot and never confirmed, or whose sync failed; parents
// first.
Result<std::vector<Snapshot>> suspects(Reader& reader, const std::string& current_boot);
}  // namespace snapshots

// --- leases -----------------------------------------------------------------------------------
struct Lease {
  std::string id;
  // containerd.io/gc.expire: RFC 3339, after which it no longer holds anything; gc.flat: it holds
  // its resources alone, not what their labels point at.
  Labels labels;
  Time created = 0;
};
struct LeaseResource {
  std::string type;  // "content", "snapshots/<snapshotter>", "ingests", "images", "leases"
  std::string id;
};
namespace leases {
Status create(Transaction& txn, const std::string& ns, const Lease& lease);
Status remove(Transaction& txn, const std::string& ns, const std::string& id);
Result<std::vector<Lease>> list(Reader& reader, const std::string& ns,
                                const std::vector<std::string>& filters);
Status add_resource(Transaction& txn, const std::string& ns, const std::string& lease,
                    const LeaseResource& resource);  // bumps the touched generation
Status remove_resource(Transaction& txn, const std::string& ns, const std::string& lease,
                       const LeaseResource& resource);
Result<std::vector<LeaseResource>> resources(Reader& reader, const std::string& ns,
                                             const std::string& lease);
}  // namespace leases

// --- intents: work begun whose files may stand without a row ------------------------------------
struct Intent {
  int64_t id = 0;
  std::string kind;  // "snapshot.prepare", "container.create", ...
  std::string body;  // what recovery needs to undo it, JSON
};
namespace intents {
Result<int64_t> put(Transaction& txn, const std::string& kind, const std::string& body);
Status remove(Transaction& txn, int64_t id);
Result<std::vector<Intent>> list(Reader& reader);
}  // namespace intents

// --- tombstones: rows that went before their files ----------------------------------------------
struct Tombstone {
  int64_t id = 0;
  std::string kind;  // "blob", "ingest", "snapshot"
  std::string path;  // relative to the root folder; snapshots: "<snapshotter>/<id>"
};
namespace tombstones {
Status put(Transaction& txn, const std::string& kind, const std::string& path);
Status remove(Transaction& txn, int64_t id);
Result<std::vector<Tombstone>> list(Reader& reader);
}  // namespace tombstones

// --- containers (as far as `run` needs; grows with the engine) ----------------------------------
struct ContainerRow {
  std::string id;
  std::string name;
  std::string image;
  std::string snapshotter;
  std::string snapshot_key;
  std::string spec;   // JSON, the engine's own
  std::string state;  // JSON, the engine's own: status, pid, exit code, times
  Labels labels;
  Time created = 0;
  Time updated = 0;
};
namespace containers {
Result<ContainerRow> get(Reader& reader, const std::string& ns, const std::string& id);
Result<std::vector<ContainerRow>> list(Reader& reader, const std::string& ns,
                                       const std::vector<std::string>& filters);
Status create(Transaction& txn, const std::string& ns, const ContainerRow& row);
Status update(Transaction& txn, const std::string& ns, const ContainerRow& row);
Status remove(Transaction& txn, const std::string& ns, const std::string& id);
}  // namespace containers

}  // namespace skiff::metadata
