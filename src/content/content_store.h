// Blobs by digest, and the ingests that become blobs.
//
// Bytes are shared by all namespaces; a namespace sees a blob once it has a name for it, which a
// commit, a lease or `share` gives. The ContentStore contract follows containerd's content service:
// ingests are named by a ref, resumable, and visible in a list; a commit verifies.
//
// Thread-safe, but one Ingest has one writer (write_at may come from several threads).
// Durability: a commit that rides is visible at once and carries this boot's id until a sync
// confirms it; after a reboot without confirmation such a blob is re-hashed or dropped (`recover`).
// A crash at any point leaves either an ingest that can be resumed or aborted, or the whole blob.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/digest.h"
#include "base/stream.h"
#include "metadata/rows.h"
#include "sys/fd.h"

namespace skiff::content {

using metadata::FieldPaths;
using metadata::Labels;
using BlobInfo = metadata::Blob;

// Reads at offsets. Thread-safe. Stays readable after the blob's removal, as an open file does.
class BlobReader {
 public:
  virtual ~BlobReader() = default;
  virtual uint64_t size() const = 0;
  // Up to buffer.size() bytes; 0 at or past the end.
  virtual Result<size_t> read_at(MutableBytes buffer, uint64_t offset) = 0;
};
// A sequential source over (a part of) a blob.
std::unique_ptr<ByteSource> source(std::shared_ptr<BlobReader> reader, uint64_t offset = 0);

struct Expected {
  Digest digest;      // empty: not known before commit
  uint64_t size = 0;  // 0: not known
};

struct IngestStatus {
  std::string ref;
  uint64_t offset = 0;
  uint64_t total = 0;
  Digest expected;
  metadata::Time started = 0;
  metadata::Time updated = 0;
};

struct CommitOptions {
  Labels labels;
  // kDurable: file and row are on disk before commit returns (content without a source elsewhere).
  // kRides: visible at once, confirmed by the store's next background sync.
  metadata::Durability durability = metadata::Durability::kDurable;
  // The digest that the caller itself computed over exactly the stored bytes; empty: the store
  // reads and hashes the file.
  Digest computed;
};

// One ingest in progress; destroying it without commit keeps it resumable and releases its ref.
class Ingest {
 public:
  virtual ~Ingest() = default;
  // The contiguous prefix that is stored; where a resumed writer goes on.
  virtual uint64_t offset() const = 0;
  // Writes at the end of the prefix.
  virtual Status write(Bytes bytes) = 0;
  // Writes anywhere; the caller says with `advance` when the prefix has grown. Thread-safe.
  virtual Status write_at(Bytes bytes, uint64_t offset) = 0;
  // The prefix now ends at `offset` (progress; what a resume may trust after a daemon crash).
  virtual Status advance(uint64_t offset) = 0;
  // Throws away what lies past `offset`.
  virtual Status truncate(uint64_t offset) = 0;
  // Reads what was written; for stages that consume while the fetch goes on. Thread-safe.
  virtual Result<size_t> read_at(MutableBytes buffer, uint64_t offset) = 0;
  // Verifies size and digest, then makes the blob visible under the context's namespace and lease.
  // DataLoss for a mismatch (the ingest is gone then: a retry starts anew); an existing blob of the
  // digest is success, the ingest's bytes dropped.
  virtual Result<Digest> commit(const Context& context, const Expected& expected,
                                const CommitOptions& options) = 0;
};

class ContentStore {
 public:
  virtual ~ContentStore() = default;
  virtual Result<BlobInfo> info(const Context& context, const Digest& digest) = 0;
  virtual Result<std::shared_ptr<BlobReader>> open(const Context& context,
                                                   const Digest& digest) = 0;
  // Starts or resumes `ref`. AlreadyExists when the namespace has the expected blob; Unavailable
  // when another writer holds the ref now.
  virtual Result<std::unique_ptr<Ingest>> ingest(const Context& context, const std::string& ref,
                                                 const Expected& expected) = 0;
  virtual Result<std::vector<IngestStatus>> ingests(const Context& context) = 0;
  virtual Status abort(const Context& context, const std::string& ref) = 0;
  virtual Result<BlobInfo> update(const Context& context, const Digest& digest,
                                  const Labels& labels, const FieldPaths& paths) = 0;
  // Every blob of the namespace that the filters match.
  virtual Status walk(const Context& context, const std::vector<std::string>& filters,
                      const std::function<Status(const BlobInfo&)>& visit) = 0;
  virtual Status remove(const Context& context, const Digest& digest) = 0;
  // Names, under the context's namespace and lease, a blob that any namespace holds. NotFound when
  // none does. The caller has proved the right to it (DESIGN: content_sharing_policy).
  virtual Result<BlobInfo> share(const Context& context, const Digest& digest,
                                 const Labels& labels) = 0;
};

}  // namespace skiff::content
