// Rows against files, both ways.
#include <map>
#include <set>

#include "content/local/local_content_store.h"
#include "content/local/shared.h"

namespace skiff::content {
namespace {

using local::Shared;
using metadata::Reader;

struct Rows {
  std::map<Digest, uint64_t> blobs;                 // sizes
  std::map<std::string, metadata::Ingest> ingests;  // by file name
};

Result<Rows> read_rows(const Context& context, Shared& shared) {
  Rows rows;
  SKIFF_TRY(shared.metadata.read(context, [&](Reader& reader) -> Status {
    for (const std::string& ns : SKIFF_TRY(metadata::namespaces::list(reader))) {
      for (auto& row : SKIFF_TRY(metadata::ingests::list(reader, ns))) {
        std::string id = row.id;
        rows.ingests.emplace(std::move(id), std::move(row));
      }
    }
    for (const auto& blob : SKIFF_TRY(metadata::blobs::list_shared(reader)))
      rows.blobs.emplace(blob.digest, blob.size);
    return ok();
  }));
  return rows;
}

// Files whose rows are gone, to be removed by the next sweep.
Result<std::set<std::string>> tombstones(const Context& context, Shared& shared) {
  std::set<std::string> paths;
  SKIFF_TRY(shared.metadata.read(context, [&](Reader& reader) -> Status {
    for (const auto& tombstone : SKIFF_TRY(metadata::tombstones::list(reader)))
      paths.insert((shared.layout.root / tombstone.path).string());
    return ok();
  }));
  return paths;
}

Result<std::optional<Finding>> check_blob(const Context& context, Shared& shared,
                                          const Digest& digest, uint64_t size, bool deep) {
  // Nobody removes or replaces the file meanwhile; and the row must still be there.
  auto held = shared.digests.lock(digest.str());
  if (!SKIFF_TRY(local::has_blob(context, shared, digest))) return std::nullopt;
  auto st = sys::stat_path(shared.layout.blob(digest));
  if (!st)
    return Finding{"blob-missing", digest.str(),
                   "there is a row, but no file: remove the blob, then pull or load it again"};
  if (static_cast<uint64_t>(st->st_size) != size)
    return Finding{"blob-size", digest.str(),
                   fmt::format("the row says {} bytes, the file has {}", size, st->st_size)};
  if (!deep) return std::nullopt;
  auto found = local::hash_file(shared.layout.blob(digest), digest.algorithm(), true);
  if (!found) return Finding{"blob-digest", digest.str(), found.error().message()};
  if (*found != digest)
    return Finding{"blob-digest", digest.str(), fmt::format("the file hashes to {}", *found)};
  return std::nullopt;
}

Result<std::optional<Finding>> check_blob_file(const Context& context, Shared& shared,
                                               DigestAlgorithm algorithm, const std::string& name,
                                               const std::set<std::string>& tombstones) {
  sys::Path file = shared.layout.blobs(algorithm) / name;
  auto digest = Digest::parse(fmt::format("{}:{}", algorithm_name(algorithm), name));
  if (!digest) return Finding{"content-stray", file.string(), "its name is no digest"};
  auto held = shared.digests.lock(digest->str());  // not in the middle of a commit
  if (tombstones.contains(file.string()) || !sys::path_exists(file)) return std::nullopt;
  if (SKIFF_TRY(local::has_blob(context, shared, *digest))) return std::nullopt;
  return Finding{"blob-orphan", digest->str(), "there is a file, but no row"};
}

std::optional<Finding> check_ingest(Shared& shared, const metadata::Ingest& row) {
  if (shared.live_files.lock()->contains(row.id)) return std::nullopt;
  auto st = sys::stat_path(shared.layout.ingest(row.id));
  if (!st) return Finding{"ingest-missing", row.ref, "there is a row, but no file: abort it"};
  if (row.boot == shared.metadata.boot_id() && static_cast<uint64_t>(st->st_size) < row.offset)
    return Finding{"ingest-short", row.ref,
                   fmt::format("the row says {} bytes were written, the file has {}", row.offset,
                               st->st_size)};
  return std::nullopt;
}

}  // namespace

Result<std::vector<Finding>> LocalContentStore::fsck(const Context& context, bool deep) {
  std::vector<Finding> findings;
  auto add = [&](std::optional<Finding> finding) {
    if (finding) findings.push_back(*std::move(finding));
  };
  // Files are listed before the rows are read: what has a file and no row then is either in the
  // middle of something, which is asked for again one by one, or wrong.
  std::map<DigestAlgorithm, std::vector<std::string>> blobs;
  for (DigestAlgorithm algorithm : kAlgorithms)
    blobs[algorithm] = SKIFF_TRY(sys::list_dir(shared_->layout.blobs(algorithm)));
  auto ingests = SKIFF_TRY(sys::list_dir(shared_->layout.ingests()));
  auto live = *shared_->live_files.lock();
  Rows rows = SKIFF_TRY(read_rows(context, *shared_));
  auto dead = SKIFF_TRY(tombstones(context, *shared_));

  for (const auto& [digest, size] : rows.blobs) {
    SKIFF_TRY(context.check());
    add(SKIFF_TRY(check_blob(context, *shared_, digest, size, deep)));
  }
  for (const auto& [algorithm, names] : blobs)
    for (const std::string& name : names)
      add(SKIFF_TRY(check_blob_file(context, *shared_, algorithm, name, dead)));
  for (const auto& [id, row] : rows.ingests) add(check_ingest(*shared_, row));
  for (const std::string& name : ingests) {
    sys::Path file = shared_->layout.ingest(name);
    if (rows.ingests.contains(name) || live.contains(name) || dead.contains(file.string()) ||
        !sys::path_exists(file))
      continue;
    findings.push_back({"ingest-orphan", file.string(), "there is a file, but no row"});
  }
  return findings;
}

}  // namespace skiff::content
