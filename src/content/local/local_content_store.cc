#include "content/local/local_content_store.h"

#include <fcntl.h>

#include "codec/hash.h"
#include "content/local/local_ingest.h"
#include "content/local/shared.h"

namespace skiff::content {
namespace local {

Status check_space(const Shared& shared, uint64_t bytes) {
  uint64_t free = SKIFF_TRY(sys::free_bytes(shared.layout.content()));
  if (free >= bytes && free - bytes >= shared.reserve_bytes) return ok();
  return fail(
      Code::kResourceExhausted,
      "{} has {} bytes free; {} more are needed and {} are held in reserve: free some space "
      "(images, unused content) or lower the reserve",
      shared.layout.root.string(), free, bytes, shared.reserve_bytes);
}

Result<bool> has_blob(const Context& context, Shared& shared, const Digest& digest) {
  bool there = false;
  SKIFF_TRY(shared.metadata.read(context, [&](metadata::Reader& reader) -> Status {
    auto blob = metadata::blobs::get_shared(reader, digest);
    if (!blob && !blob.error().is(Code::kNotFound)) return std::unexpected(blob.error());
    there = blob.has_value();
    return ok();
  }));
  return there;
}

Result<Digest> hash_file(const sys::Path& path, DigestAlgorithm algorithm, bool from_disk) {
  sys::UniqueFd fd = SKIFF_TRY(sys::open_file(path, O_RDONLY));
  if (from_disk) posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED);
  posix_fadvise(fd.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  sys::FileSource source(std::move(fd));
  return SKIFF_TRY_WRAP(codec::digest_of(source, algorithm), "{}", path.string());
}

}  // namespace local

namespace {

using metadata::Durability;
using metadata::Reader;
using metadata::Transaction;

const CrashPoint kMakeFolders{"content.folders.sync"};
const CrashPoint kAbort{"content.ingest.abort"};
const CrashPoint kUpdate{"content.blob.update"};
const CrashPoint kRemove{"content.blob.remove"};
const CrashPoint kShare{"content.blob.share"};

class FileReader final : public BlobReader {
 public:
  FileReader(sys::UniqueFd fd, const Digest& digest, uint64_t size)
      : fd_(std::move(fd)), digest_(digest), size_(size) {}
  uint64_t size() const override { return size_; }
  Result<size_t> read_at(MutableBytes buffer, uint64_t offset) override {
    return SKIFF_TRY_WRAP(sys::pread_fd(fd_.get(), buffer, offset), "blob {}", digest_);
  }

 private:
  sys::UniqueFd fd_;
  Digest digest_;
  uint64_t size_;
};

Status make_folders(const Layout& layout) {
  std::vector<sys::Path> folders = {layout.content(), layout.ingests(), layout.blobs()};
  for (DigestAlgorithm algorithm : kAlgorithms) folders.push_back(layout.blobs(algorithm));
  for (const sys::Path& folder : folders) {
    if (sys::path_exists(folder)) continue;
    SKIFF_TRY(sys::make_dirs(folder, 0700));
    sys::UniqueFd parent = SKIFF_TRY(sys::open_dir(folder.parent_path()));
    SKIFF_TRY(sys::sync_fd(kMakeFolders, parent.get(), folder.parent_path()));
  }
  return ok();
}

}  // namespace

LocalContentStore::LocalContentStore(std::unique_ptr<local::Shared> shared)
    : shared_(std::move(shared)) {}
LocalContentStore::~LocalContentStore() = default;

Result<std::unique_ptr<LocalContentStore>> LocalContentStore::open(metadata::Store& metadata,
                                                                   const Options& options) {
  Layout layout{options.root};
  SKIFF_TRY(make_folders(layout));
  auto shared = std::unique_ptr<local::Shared>(
      new local::Shared{layout, metadata, options.reserve_bytes, {}, {}, {}});
  return std::unique_ptr<LocalContentStore>(new LocalContentStore(std::move(shared)));
}

Result<BlobInfo> LocalContentStore::info(const Context& context, const Digest& digest) {
  BlobInfo info;
  SKIFF_TRY(shared_->metadata.read(context, [&](Reader& reader) -> Status {
    info = SKIFF_TRY(metadata::blobs::get(reader, context.name_space(), digest));
    return ok();
  }));
  return info;
}

Result<std::shared_ptr<BlobReader>> LocalContentStore::open(const Context& context,
                                                            const Digest& digest) {
  BlobInfo info = SKIFF_TRY(this->info(context, digest));
  auto fd = sys::open_file(shared_->layout.blob(digest), O_RDONLY);
  if (!fd && fd.error().is(Code::kNotFound)) {
    // Either removed between the two steps, or damage.
    SKIFF_TRY(this->info(context, digest));
    return fail(Code::kDataLoss, "the file of blob {} is missing; `skiff fsck` shows what else is",
                digest);
  }
  if (!fd) return std::unexpected(fd.error());
  return std::make_shared<FileReader>(*std::move(fd), digest, info.size);
}

Result<std::unique_ptr<Ingest>> LocalContentStore::ingest(const Context& context,
                                                          const std::string& ref,
                                                          const Expected& expected) {
  SKIFF_TRY(context.check());
  if (ref.empty()) return fail(Code::kInvalidArgument, "an ingest needs a ref");
  local::RefKey key{context.name_space(), ref};
  auto live = std::make_shared<local::Live>();
  if (!shared_->live.lock()->emplace(key, live).second)
    return fail(Code::kUnavailable, "ingest {} has another writer now", ref);
  auto ingest = local::start_ingest(context, *shared_, ref, expected, std::move(live));
  if (!ingest) shared_->live.lock()->erase(key);
  return ingest;
}

Result<std::vector<IngestStatus>> LocalContentStore::ingests(const Context& context) {
  std::vector<metadata::Ingest> rows;
  SKIFF_TRY(shared_->metadata.read(context, [&](Reader& reader) -> Status {
    rows = SKIFF_TRY(metadata::ingests::list(reader, context.name_space()));
    return ok();
  }));
  std::vector<IngestStatus> all;
  auto live = shared_->live.lock();
  for (const metadata::Ingest& row : rows) {
    all.push_back({row.ref, row.offset, row.total, row.expected, row.started, row.updated});
    auto writer = live->find({context.name_space(), row.ref});
    if (writer == live->end()) continue;
    all.back().offset = writer->second->offset;
    all.back().updated = writer->second->updated;
  }
  return all;
}

Status LocalContentStore::abort(const Context& context, const std::string& ref) {
  // Takes the writer's place, so that none starts meanwhile.
  local::RefKey key{context.name_space(), ref};
  if (!shared_->live.lock()->emplace(key, std::make_shared<local::Live>()).second)
    return fail(Code::kUnavailable, "ingest {} is being written; end its writer first", ref);
  std::string id;
  Status status =
      shared_->metadata.write(context, kAbort, Durability::kRides, [&](Transaction& txn) -> Status {
        id = SKIFF_TRY(metadata::ingests::get(txn, context.name_space(), ref)).id;
        return metadata::ingests::remove(txn, context.name_space(), ref);
      });
  if (status) status = sys::remove_file(shared_->layout.ingest(id));
  shared_->live.lock()->erase(key);
  return status;
}

Result<BlobInfo> LocalContentStore::update(const Context& context, const Digest& digest,
                                           const Labels& labels, const FieldPaths& paths) {
  BlobInfo info;
  SKIFF_TRY(shared_->metadata.write(
      context, kUpdate, Durability::kDurable, [&](Transaction& txn) -> Status {
        const std::string& ns = context.name_space();
        BlobInfo before = SKIFF_TRY(metadata::blobs::get(txn, ns, digest));
        Labels after = SKIFF_TRY(metadata::updated_labels(before.labels, labels, paths));
        SKIFF_TRY(metadata::blobs::set_labels(txn, ns, digest, after));
        info = SKIFF_TRY(metadata::blobs::get(txn, ns, digest));
        return ok();
      }));
  return info;
}

Status LocalContentStore::walk(const Context& context, const std::vector<std::string>& filters,
                               const std::function<Status(const BlobInfo&)>& visit) {
  std::vector<BlobInfo> all;
  SKIFF_TRY(shared_->metadata.read(context, [&](Reader& reader) -> Status {
    all = SKIFF_TRY(metadata::blobs::list(reader, context.name_space(), filters));
    return ok();
  }));
  for (const BlobInfo& info : all) {
    SKIFF_TRY(context.check());
    SKIFF_TRY(visit(info));
  }
  return ok();
}

Status LocalContentStore::remove(const Context& context, const Digest& digest) {
  // It may ride: the file goes by the tombstone, and the sweep waits until that is on disk.
  return shared_->metadata.write(context, kRemove, Durability::kRides, [&](Transaction& txn) {
    return metadata::blobs::remove(txn, context.name_space(), digest);
  });
}

Result<BlobInfo> LocalContentStore::share(const Context& context, const Digest& digest,
                                          const Labels& labels) {
  BlobInfo info;
  SKIFF_TRY(
      shared_->metadata.write(context, kShare, Durability::kRides, [&](Transaction& txn) -> Status {
        info = SKIFF_TRY(metadata::blobs::get_shared(txn, digest));
        info.labels = labels;
        SKIFF_TRY(metadata::blobs::put(txn, context.name_space(), info, context.lease()));
        info = SKIFF_TRY(metadata::blobs::get(txn, context.name_space(), digest));
        return ok();
      }));
  return info;
}

Status LocalContentStore::remove_files(const Context& context, const std::string& kind,
                                       const std::string& path) {
  sys::Path file = shared_->layout.root / path;
  if (kind == "ingest") return sys::remove_file(file);
  if (kind != "blob")
    return fail(Code::kInvalidArgument, "a tombstone of kind {} is not ours", kind);
  Digest digest = SKIFF_TRY(Digest::parse(
      fmt::format("{}:{}", file.parent_path().filename().string(), file.filename().string())));
  auto held = shared_->digests.lock(digest.str());
  if (SKIFF_TRY(has_blob(context, *shared_, digest))) return ok();
  return sys::remove_file(shared_->layout.blob(digest));
}

}  // namespace skiff::content
