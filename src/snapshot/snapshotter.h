// Snapshots: layers of a root file system, stacked by parent.
//
// Life cycle, as in containerd: `prepare` makes an active snapshot on a committed parent and says
// how to mount it; its user writes into it; `commit` turns it into a committed, read-only one under
// a name (for image layers the chain ID), which may be a parent in turn. `view` is a read-only
// active one. Keys and names are per namespace (Context); the bytes of committed image layers are
// shared below them.
//
// Thread-safe. After a crash an active snapshot is there with its row or neither is; a commit
// happened or did not. Committed layers may ride (kRides): see content_store.h for the boot-id
// rule.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/context.h"
#include "metadata/rows.h"
#include "sys/file.h"

namespace skiff::snapshot {

using metadata::FieldPaths;
using metadata::Labels;
using SnapshotInfo = metadata::Snapshot;
using Kind = metadata::SnapshotKind;

// The two label contracts of remote snapshots (containerd's public documents):
// 2019: the client prepares with kRemoteRef and kRemoteDigest, the snapshotter alone sets kRemote.
inline constexpr char kRemoteLabel[] = "containerd.io/snapshot/remote_snapshot";
inline constexpr char kRemoteRefLabel[] = "containerd.io/snapshot/remote_snapshot/ref";
inline constexpr char kRemoteDigestLabel[] = "containerd.io/snapshot/remote_snapshot/digest";
// Today's: prepare with kTargetLabel=<chain ID> answers AlreadyExists when the layer is there; one
// that the snapshotter made itself on being asked so has kRemoteMadeLabel, which it alone sets.
inline constexpr char kTargetLabel[] = "containerd.io/snapshot.ref";
inline constexpr char kRemoteMadeLabel[] = "containerd.io/snapshot/remote";

// What mount(2) is to be given; type "bind" or "overlay". Options in overlay's own syntax.
struct Mount {
  std::string type;
  std::string source;
  std::string target;  // below the mount root; empty: the root itself
  std::vector<std::string> options;

  friend bool operator==(const Mount&, const Mount&) = default;
};

struct Usage {
  uint64_t bytes = 0;
  uint64_t inodes = 0;
};

struct Capabilities {
  // The parent may be given at commit: prepare runs without it and layers unpack side by side
  // (the overlay form of apply); active mounts without a parent are one plain bind.
  bool rebase = false;
  // Configured as remote: worth asking for layers that are not here.
  bool remote = false;
};

struct CommitOptions {
  Labels labels;
  metadata::Durability durability = metadata::Durability::kDurable;
  // With Capabilities::rebase: the committed parent to stand on. "" is none; unset keeps prepare's.
  std::optional<std::string> parent;
  // What the layer holds, when the caller has counted it while writing; unset: it is measured.
  std::optional<Usage> usage;
  // See metadata::snapshots::CommitRow.
  Digest verified_chain_id;
  std::string layer_source;
};

class Snapshotter {
 public:
  virtual ~Snapshotter() = default;
  virtual const std::string& name() const = 0;
  virtual Capabilities capabilities() const = 0;
  virtual Result<SnapshotInfo> stat(const Context& context, const std::string& key) = 0;
  virtual Result<SnapshotInfo> update(const Context& context, const std::string& key,
                                      const Labels& labels, const FieldPaths& paths) = 0;
  // Of the layer alone, without its parents; an active one is measured now.
  virtual Result<Usage> usage(const Context& context, const std::string& key) = 0;
  // Of an active or view snapshot.
  virtual Result<std::vector<Mount>> mounts(const Context& context, const std::string& key) = 0;
  // AlreadyExists: the key is taken, or (today's remote contract) the target layer is there.
  virtual Result<std::vector<Mount>> prepare(const Context& context, const std::string& key,
                                             const std::string& parent, const Labels& labels) = 0;
  virtual Result<std::vector<Mount>> view(const Context& context, const std::string& key,
                                          const std::string& parent, const Labels& labels) = 0;
  virtual Status commit(const Context& context, const std::string& name, const std::string& key,
                        const CommitOptions& options) = 0;
  // FailedPrecondition while it has children.
  virtual Status remove(const Context& context, const std::string& key) = 0;
  virtual Status walk(const Context& context, const std::vector<std::string>& filters,
                      const std::function<Status(const SnapshotInfo&)>& visit) = 0;
};

// The folders behind mounts of a local snapshotter: `upper` is where writes land (empty for a
// view), `lowers` top first. InvalidArgument when the mounts are not plain binds or overlays.
struct LayerFolders {
  sys::Path upper;
  std::vector<sys::Path> lowers;
};
Result<LayerFolders> layer_folders(const std::vector<Mount>& mounts);

}  // namespace skiff::snapshot
