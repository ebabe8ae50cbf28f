// The ContentStore on local files: content/blobs/<algorithm>/<hex> and content/ingest/<id> below
// the root, rows in the metadata store. See docs/formats/on-disk.md.
//
// A commit renames first and writes the row after: a blob's file may stand without its row for a
// moment (after a crash `recover` gives it back to its ingest, or removes it), never a row without
// its file. Removal goes the other way: the row with a tombstone, then the file.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/finding.h"
#include "content/content_store.h"
#include "metadata/store.h"
#include "sys/file.h"

namespace skiff::content {

namespace local {
struct Shared;
}

class LocalContentStore final : public ContentStore {
 public:
  struct Options {
    sys::Path root;
    // Writing stops with ResourceExhausted when less than this would stay free on the disk.
    uint64_t reserve_bytes = 0;
  };
  // Makes the folders. `metadata` must outlive the store, the store every Ingest it gave out.
  static Result<std::unique_ptr<LocalContentStore>> open(metadata::Store& metadata,
                                                         const Options& options);
  ~LocalContentStore() override;

  struct Recovery {
    uint64_t orphans_removed = 0;    // files without rows
    uint64_t ingests_returned = 0;   // renamed but not committed: an ingest again
    uint64_t ingests_dropped = 0;    // rows without files
    uint64_t ingests_reset = 0;      // from another boot: they start at 0
    std::vector<Digest> blobs_lost;  // of verify_suspects
  };
  // Puts right what a crash or a power loss left. Once, before any other call but `open`.
  Result<Recovery> recover(const Context& context);

  // Reads back from disk every blob that another boot wrote and nobody confirmed, or whose sync
  // failed; drops those that are not whole and returns them: they are to be fetched again. Part of
  // recover; to be called also when metadata::Confirmer reports a failed sync.
  Result<std::vector<Digest>> verify_suspects(const Context& context);

  // Rows against files both ways, and sizes; with `deep` every digest. Changes nothing; safe beside
  // other work. Kinds: blob-missing, blob-orphan, blob-size, blob-digest, ingest-missing,
  // ingest-orphan, ingest-short, content-stray.
  Result<std::vector<Finding>> fsck(const Context& context, bool deep);

  // For metadata::sweep_tombstones: removes the file of a "blob" or "ingest" tombstone (its path is
  // relative to the root), unless the row has come back since.
  Status remove_files(const Context& context, const std::string& kind, const std::string& path);

  Result<BlobInfo> info(const Context& context, const Digest& digest) override;
  Result<std::shared_ptr<BlobReader>> open(const Context& context, const Digest& digest) override;
  Result<std::unique_ptr<Ingest>> ingest(const Context& context, const std::string& ref,
                                         const Expected& expected) override;
  Result<std::vector<IngestStatus>> ingests(const Context& context) override;
  Status abort(const Context& context, const std::string& ref) override;
  Result<BlobInfo> update(const Context& context, const Digest& digest, const Labels& labels,
                          const FieldPaths& paths) override;
  Status walk(const Context& context, const std::vector<std::string>& filters,
              const std::function<Status(const BlobInfo&)>& visit) override;
  Status remove(const Context& context, const Digest& digest) override;
  Result<BlobInfo> share(const Context& context, const Digest& digest,
                         const Labels& labels) override;

 private:
  explicit LocalContentStore(std::unique_ptr<local::Shared> shared);
  std::unique_ptr<local::Shared> shared_;
};

}  // namespace skiff::content
