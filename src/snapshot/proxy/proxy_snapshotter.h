// The Snapshotter over an external one: containerd's snapshots service on a unix socket ("proxy
// plugin"). Every snapshot, a remote one too, is bound to its namespace by a metadata row; the
// backend sees one flat set of names made from the rows' ids ("skiff/12/active", "skiff/12"), but
// keeps its own name (the chain ID) for a layer it committed itself. Of the labels it sees those
// that containerd gives to backends: containerd.io/snapshot/* and containerd.io/snapshot.ref.
//
// The backend belongs to this engine alone, as containerd asks too: what no row names is removed
// from it. How durable its layers are is the backend's business.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/finding.h"
#include "base/key_locks.h"
#include "metadata/store.h"
#include "snapshot/prepare_rows.h"
#include "snapshot/snapshotter.h"

namespace skiff::snapshot {

class Backend;
struct BackendInfo;

class ProxySnapshotter final : public Snapshotter {
 public:
  struct Options {
    std::string name;          // as clients and rows know it
    sys::Path socket;          // an absolute path, without a scheme
    std::string backend_name;  // what requests call it; empty: `name`
    bool remote = false;       // Capabilities::remote
  };
  // InvalidArgument for a socket that is no absolute path; the backend itself may come later.
  static Result<std::unique_ptr<ProxySnapshotter>> open(metadata::Store& metadata,
                                                        const Options& options);
  ~ProxySnapshotter() override;

  struct Recovery {
    bool reachable = true;  // else nothing was done; the daemon goes on without the backend
    uint64_t intents_undone = 0;
    uint64_t rows_dropped = 0;       // active ones that the backend does not have
    uint64_t snapshots_removed = 0;  // of the backend, that no row names
  };
  // Puts right what a crash left. Once, before any other call but `open`.
  Result<Recovery> recover(const Context& context);

  // Rows against the backend both ways. Kinds: layer-missing, layer-orphan.
  Result<std::vector<Finding>> fsck(const Context& context);

  // For metadata::sweep_tombstones: removes from the backend what a "snapshot" tombstone stands
  // for.
  Status remove_files(const Context& context, const std::string& kind, const std::string& path);

  const std::string& name() const override { return options_.name; }
  Capabilities capabilities() const override { return {.remote = options_.remote}; }
  Result<SnapshotInfo> stat(const Context& context, const std::string& key) override;
  Result<SnapshotInfo> update(const Context& context, const std::string& key, const Labels& labels,
                              const FieldPaths& paths) override;
  Result<Usage> usage(const Context& context, const std::string& key) override;
  Result<std::vector<Mount>> mounts(const Context& context, const std::string& key) override;
  Result<std::vector<Mount>> prepare(const Context& context, const std::string& key,
                                     const std::string& parent, const Labels& labels) override;
  Result<std::vector<Mount>> view(const Context& context, const std::string& key,
                                  const std::string& parent, const Labels& labels) override;
  Status commit(const Context& context, const std::string& name, const std::string& key,
                const CommitOptions& options) override;
  Status remove(const Context& context, const std::string& key) override;
  Status walk(const Context& context, const std::vector<std::string>& filters,
              const std::function<Status(const SnapshotInfo&)>& visit) override;

 private:
  ProxySnapshotter(metadata::Store& metadata, const Options& options);

  Result<std::vector<Mount>> create(const Context& context, SnapshotInfo info);
  Result<std::vector<Mount>> make(const Context& context, const Begun& begun,
                                  const SnapshotInfo& info);
  Status bind_made(const Context& context, const Begun& begun, const SnapshotInfo& info,
                   const std::string& target);
  void undo(const Context& context, const Begun& begun);
  Status remove_if_there(const Context& context, const std::string& backend_key, bool* was_there);
  Status undo_intents(const Context& context, Recovery& done);
  Status drop_lost_rows(const Context& context, Recovery& done);
  Result<uint64_t> remove_unnamed(const Context& context);

  // The backend's names that rows and intents stand for.
  struct Named {
    std::set<std::string> expected;  // of rows
    std::set<std::string> possible;  // of what is on its way too
    std::set<int64_t> dying;         // ids of tombstones
  };
  Result<Named> named(const Context& context);

  metadata::Store& metadata_;
  Options options_;
  std::unique_ptr<Backend> backend_;
  // Names while the backend and the rows may differ about them: a commit's name, a target.
  KeyLocks names_;
};

}  // namespace skiff::snapshot
