// The Snapshotter on local folders: rows in the metadata store, files with a Driver.
//
// Prepare: an intent with the id; the folder; then the row and the end of the intent in one
// transaction. Remove: the row with a tombstone; the folder when tombstones are swept. So a row
// never stands without its folder, and a folder without a row is on its way in or out.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/finding.h"
#include "base/guarded.h"
#include "metadata/store.h"
#include "snapshot/driver.h"
#include "snapshot/prepare_rows.h"
#include "snapshot/snapshotter.h"

namespace skiff::snapshot {

class LocalSnapshotter final : public Snapshotter {
 public:
  struct Options {
    sys::Path root;  // holds snapshots/ and the database
  };
  // `metadata` must outlive it.
  static Result<std::unique_ptr<LocalSnapshotter>> open(metadata::Store& metadata,
                                                        std::unique_ptr<Driver> driver,
                                                        const Options& options);
  ~LocalSnapshotter() override;

  struct Recovery {
    uint64_t intents_undone = 0;
    uint64_t folders_removed = 0;  // without rows
    uint64_t folders_remade = 0;   // of active snapshots, empty as a power loss left them
    // Committed layers of another boot that nobody confirmed, lowest first: to be made anew in
    // `layer_folder`. Until then nothing that stands on them can be prepared, viewed or mounted.
    std::vector<SnapshotInfo> suspects;
  };
  // Puts right what a crash or a power loss left. Once, before any other call but `open`.
  Result<Recovery> recover(const Context& context);
  // The suspects of now; also to be called when metadata::Confirmer reports a failed sync.
  Result<std::vector<SnapshotInfo>> find_suspects(const Context& context);

  // Where the layer's own files lie.
  sys::Path layer_folder(int64_t id) const { return driver_->layer_folder(id); }

  // Rows against folders both ways; changes nothing, safe beside other work. Kinds: layer-missing,
  // layer-incomplete, layer-orphan, snapshot-stray.
  Result<std::vector<Finding>> fsck(const Context& context);

  // For metadata::sweep_tombstones: removes the folder of a "snapshot" tombstone,
  // "<snapshotter>/<id>". InvalidArgument for another snapshotter's.
  Status remove_files(const Context& context, const std::string& kind, const std::string& path);

  const std::string& name() const override { return driver_->name(); }
  Capabilities capabilities() const override { return driver_->capabilities(); }
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
  LocalSnapshotter(metadata::Store& metadata, std::unique_ptr<Driver> driver, sys::Path folder,
                   sys::UniqueFd folder_fd);

  Result<std::vector<Mount>> create(const Context& context, const SnapshotInfo& info);
  void undo(const Context& context, const Begun& begun);
  Result<Place> place_of(metadata::Reader& reader, const SnapshotInfo& info);
  Status check_suspects(const Context& context, const std::vector<int64_t>& chain);
  Status undo_intents(const Context& context, Recovery& done);
  Status recover_folders(const Context& context, Recovery& done);
  struct Rows {
    std::map<int64_t, Place> places;
    std::set<int64_t> moving;
  };
  Result<Rows> rows(const Context& context);
  Result<std::map<int64_t, Place>> places(metadata::Reader& reader);
  Result<std::set<int64_t>> moving(metadata::Reader& reader);

  metadata::Store& metadata_;
  std::unique_ptr<Driver> driver_;
  sys::Path folder_;         // <root>/snapshots/<driver>
  sys::UniqueFd folder_fd_;  // open from the start: its syncfs reports every write error since
  // Ids that were suspect when last looked at; those made anew since are found out on demand.
  Guarded<std::set<int64_t>> suspects_;
};

}  // namespace skiff::snapshot
