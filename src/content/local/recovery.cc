// Putting right what a crash, a power loss or a failing disk left.
#include <fcntl.h>

#include <set>

#include "base/log.h"
#include "content/local/local_content_store.h"
#include "content/local/shared.h"

namespace skiff::content {
namespace {

using local::Shared;
using metadata::Durability;
using metadata::Reader;
using metadata::Transaction;

const CrashPoint kReset{"content.recover.ingest-reset"};
const CrashPoint kDrop{"content.recover.ingest-drop"};
const CrashPoint kReturn{"content.recover.ingest-return"};
const CrashPoint kLost{"content.recover.blob-lost"};
const CrashPoint kVerified{"content.recover.blob-verified"};

struct IngestRow {
  std::string ns;
  metadata::Ingest row;
};

struct Rows {
  std::vector<IngestRow> ingests;
  std::set<Digest> blobs;
};

Result<Rows> read_rows(const Context& context, Shared& shared) {
  Rows rows;
  SKIFF_TRY(shared.metadata.read(context, [&](Reader& reader) -> Status {
    for (const std::string& ns : SKIFF_TRY(metadata::namespaces::list(reader))) {
      for (auto& row : SKIFF_TRY(metadata::ingests::list(reader, ns)))
        rows.ingests.push_back({ns, std::move(row)});
    }
    for (const auto& blob : SKIFF_TRY(metadata::blobs::list_shared(reader)))
      rows.blobs.insert(blob.digest);
    return ok();
  }));
  return rows;
}

// A blob's file that was renamed just before the crash, its row not yet written: the ingest that
// expects this digest and has lost its file takes it back, and a retry need not fetch again.
Status return_to_ingest(Shared& shared, const Rows& rows, const Digest& digest,
                        LocalContentStore::Recovery& done) {
  sys::Path file = shared.layout.blob(digest);
  for (const auto& [ns, row] : rows.ingests) {
    if (row.expected != digest || row.boot != shared.metadata.boot_id()) continue;
    if (sys::path_exists(shared.layout.ingest(row.id))) continue;
    done.ingests_returned += 1;
    if (chmod(file.c_str(), 0600) != 0) return fail_errno(errno, "chmod {}", file.string());
    return sys::rename_path(kReturn, file, shared.layout.ingest(row.id));
  }
  done.orphans_removed += 1;
  return sys::remove_file(file);
}

Status recover_blobs(Shared& shared, const Rows& rows, LocalContentStore::Recovery& done) {
  for (DigestAlgorithm algorithm : kAlgorithms) {
    for (const std::string& name : SKIFF_TRY(sys::list_dir(shared.layout.blobs(algorithm)))) {
      auto digest = Digest::parse(fmt::format("{}:{}", algorithm_name(algorithm), name));
      if (!digest) {
        log::warning("a file that is no blob is left alone",
                     {{"path", (shared.layout.blobs(algorithm) / name).string()}});
      } else if (!rows.blobs.contains(*digest)) {
        SKIFF_TRY(return_to_ingest(shared, rows, *digest, done));
      }
    }
  }
  return ok();
}

Status recover_ingests(const Context& context, Shared& shared, const Rows& rows,
                       LocalContentStore::Recovery& done) {
  std::set<std::string> known;
  for (const auto& [ns, row] : rows.ingests) {
    known.insert(row.id);
    if (!sys::path_exists(shared.layout.ingest(row.id))) {
      done.ingests_dropped += 1;
      SKIFF_TRY(shared.metadata.write(context, kDrop, Durability::kRides, [&](Transaction& txn) {
        return metadata::ingests::finish(txn, ns, row.ref);
      }));
    } else if (row.boot != shared.metadata.boot_id()) {
      done.ingests_reset += 1;
      SKIFF_TRY(sys::write_file(shared.layout.ingest(row.id), "", 0600));
      metadata::Ingest reset = row;
      reset.offset = 0;
      reset.boot = shared.metadata.boot_id();
      SKIFF_TRY(shared.metadata.write(context, kReset, Durability::kRides, [&](Transaction& txn) {
        return metadata::ingests::put(txn, ns, reset, "");
      }));
    }
  }
  for (const std::string& name : SKIFF_TRY(sys::list_dir(shared.layout.ingests()))) {
    if (known.contains(name)) continue;
    done.orphans_removed += 1;
    SKIFF_TRY(sys::remove_tree(shared.layout.ingest(name)));
  }
  return ok();
}

// Takes the blob from every namespace that names it.
Status drop_blob(const Context& context, Shared& shared, const Digest& digest) {
  return shared.metadata.write(
      context, kLost, Durability::kDurable, [&](Transaction& txn) -> Status {
        for (const std::string& ns : SKIFF_TRY(metadata::namespaces::list(txn))) {
          Status removed = metadata::blobs::remove(txn, ns, digest);
          if (!removed && !removed.error().is(Code::kNotFound)) return removed;
        }
        return ok();
      });
}

Status keep_blob(const Context& context, Shared& shared, const Digest& digest) {
  return shared.metadata.write(context, kVerified, Durability::kRides, [&](Transaction& txn) {
    return metadata::blobs::set_unconfirmed(txn, digest, "");
  });
}

}  // namespace

Result<LocalContentStore::Recovery> LocalContentStore::recover(const Context& context) {
  Recovery done;
  Rows rows = SKIFF_TRY(read_rows(context, *shared_));
  SKIFF_TRY(recover_blobs(*shared_, rows, done));
  SKIFF_TRY(recover_ingests(context, *shared_, rows, done));
  done.blobs_lost = SKIFF_TRY(verify_suspects(context));
  return done;
}

Result<std::vector<Digest>> LocalContentStore::verify_suspects(const Context& context) {
  std::vector<metadata::Blob> blobs;
  SKIFF_TRY(shared_->metadata.read(context, [&](Reader& reader) -> Status {
    blobs = SKIFF_TRY(metadata::blobs::suspects(reader, shared_->metadata.boot_id()));
    return ok();
  }));
  std::vector<Digest> lost;
  for (const metadata::Blob& blob : blobs) {
    SKIFF_TRY(context.check());
    auto held = shared_->digests.lock(blob.digest.str());
    auto found = local::hash_file(shared_->layout.blob(blob.digest), blob.digest.algorithm(), true);
    if (found && *found == blob.digest) {
      SKIFF_TRY(keep_blob(context, *shared_, blob.digest));
      continue;
    }
    log::warning("an unconfirmed blob did not reach the disk whole; it is dropped",
                 {{"digest", blob.digest.str()}});
    SKIFF_TRY(drop_blob(context, *shared_, blob.digest));
    lost.push_back(blob.digest);
  }
  return lost;
}

}  // namespace skiff::content
