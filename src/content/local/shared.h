// What the local store and its ingests share. Private to content/local.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "base/guarded.h"
#include "base/key_locks.h"
#include "content/local/layout.h"
#include "metadata/store.h"

namespace skiff::content::local {

// An ingest that has a writer now; its offset is newer than the row's.
struct Live {
  std::atomic<uint64_t> offset{0};
  std::atomic<int64_t> updated{0};
};

using RefKey = std::pair<std::string, std::string>;  // namespace, ref

struct Shared {
  Layout layout;
  metadata::Store& metadata;
  uint64_t reserve_bytes;
  // Held while a blob's file and row change together: by a commit, and by whoever removes the file.
  KeyLocks digests;
  Guarded<std::map<RefKey, std::shared_ptr<Live>>> live;
  // Ingest files that exist, or are about to, though their row may not show it yet.
  Guarded<std::set<std::string>> live_files;
};

// ResourceExhausted when `bytes` more would eat into the reserve.
Status check_space(const Shared& shared, uint64_t bytes);
// Whether any namespace has the blob.
Result<bool> has_blob(const Context& context, Shared& shared, const Digest& digest);
// Reads the whole file; `from_disk` drops it from the page cache first.
Result<Digest> hash_file(const sys::Path& path, DigestAlgorithm algorithm, bool from_disk = false);

}  // namespace skiff::content::local
