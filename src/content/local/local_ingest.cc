#include "content/local/local_ingest.h"

#include <fcntl.h>

#include "base/log.h"
#include "base/random_id.h"
#include "codec/hash.h"
#include "content/verify.h"

namespace skiff::content::local {
namespace {

const CrashPoint kStart{"content.ingest.start"};
const CrashPoint kProgress{"content.ingest.progress"};
const CrashPoint kDiscard{"content.ingest.discard"};
const CrashPoint kSyncFile{"content.blob.sync"};
const CrashPoint kSyncFolder{"content.blob.sync-folder"};
const CrashPoint kRename{"content.blob.rename"};
const CrashPoint kRenameBack{"content.blob.rename-back"};
const CrashPoint kCommit{"content.blob.commit"};

// How much progress a crash may cost.
constexpr uint64_t kProgressBytes = 8 << 20;
constexpr auto kProgressPeriod = std::chrono::milliseconds(500);
// How often free space is looked at.
constexpr uint64_t kSpacePeriod = 8 << 20;

using metadata::Durability;
using metadata::Transaction;

Status sync_folder(const Shared& shared, const Digest& digest) {
  sys::Path folder = shared.layout.blobs(digest.algorithm());
  sys::UniqueFd fd = SKIFF_TRY(sys::open_dir(folder));
  return sys::sync_fd(kSyncFolder, fd.get(), folder);
}

// What of the file may be trusted: the row's offset, if this boot wrote it and the file reaches it.
Result<uint64_t> trusted_offset(const Shared& shared, const metadata::Ingest& row, int fd) {
  struct stat st{};
  if (fstat(fd, &st) != 0) return fail_errno(errno, "stat ingest {}", row.ref);
  bool whole = static_cast<uint64_t>(st.st_size) >= row.offset;
  return row.boot == shared.metadata.boot_id() && whole ? row.offset : 0;
}

Result<std::optional<metadata::Ingest>> find_row(const Context& context, Shared& shared,
                                                 const std::string& ref, const Expected& expected) {
  std::optional<metadata::Ingest> row;
  SKIFF_TRY(shared.metadata.read(context, [&](metadata::Reader& reader) -> Status {
    if (!expected.digest.empty()) {
      auto blob = metadata::blobs::get(reader, context.name_space(), expected.digest);
      if (blob) return fail(Code::kAlreadyExists, "blob {} is there", expected.digest);
      if (!blob.error().is(Code::kNotFound)) return std::unexpected(blob.error());
    }
    auto found = metadata::ingests::get(reader, context.name_space(), ref);
    if (!found && !found.error().is(Code::kNotFound)) return std::unexpected(found.error());
    if (found) row = *std::move(found);
    return ok();
  }));
  return row;
}

}  // namespace

Result<std::unique_ptr<Ingest>> start_ingest(const Context& context, Shared& shared,
                                             const std::string& ref, const Expected& expected,
                                             std::shared_ptr<Live> live) {
  auto found = SKIFF_TRY(find_row(context, shared, ref, expected));
  metadata::Ingest row;
  if (found) {
    row = *std::move(found);
  } else {
    row.id = random_id(16);
    row.ref = ref;
    row.started = metadata::now();
  }
  Expected both = SKIFF_TRY(merge({row.expected, row.total}, expected));
  row.expected = both.digest;
  row.total = both.size;

  shared.live_files.lock()->insert(row.id);
  auto fd = sys::open_file(shared.layout.ingest(row.id), O_RDWR | O_CREAT, 0600);
  Status status = fd ? ok() : std::unexpected(fd.error());
  if (status) {
    auto offset = trusted_offset(shared, row, fd->get());
    if (!offset)
      status = std::unexpected(offset.error());
    else
      row.offset = *offset;
  }
  if (status && row.total > row.offset) status = check_space(shared, row.total - row.offset);
  // Pieces beyond the prefix are not known to be whole.
  if (status && ftruncate(fd->get(), static_cast<off_t>(row.offset)) != 0)
    status = fail_errno(errno, "truncate ingest {}", ref);
  if (status) {
    row.boot = shared.metadata.boot_id();
    row.updated = metadata::now();
    status = shared.metadata.write(context, kStart, Durability::kRides, [&](Transaction& txn) {
      return metadata::ingests::put(txn, context.name_space(), row, context.lease());
    });
  }
  if (!status) {
    shared.live_files.lock()->erase(row.id);
    if (!found) (void)sys::remove_file(shared.layout.ingest(row.id));
    return std::unexpected(status.error().wrap(fmt::format("ingest {}", ref)));
  }
  live->offset = row.offset;
  live->updated = row.updated;
  return std::make_unique<LocalIngest>(context, shared, std::move(row), *std::move(fd),
                                       std::move(live));
}

LocalIngest::LocalIngest(const Context& context, Shared& shared, metadata::Ingest row,
                         sys::UniqueFd fd, std::shared_ptr<Live> live)
    : context_(context.detached()),
      shared_(shared),
      row_(std::move(row)),
      fd_(std::move(fd)),
      live_(std::move(live)),
      saved_offset_(row_.offset),
      saved_at_(std::chrono::steady_clock::now()) {}

LocalIngest::~LocalIngest() {
  if (done_) return;
  if (live_->offset != saved_offset_)
    if (Status saved = save_progress(); !saved)
      log::warning("the progress of an ingest was not saved", {{"error", saved.error()}});
  release();
}

// The ref is free for the next writer.
void LocalIngest::release() {
  shared_.live_files.lock()->erase(row_.id);
  shared_.live.lock()->erase({context_.name_space(), row_.ref});
}

Status LocalIngest::check_open() const {
  if (!done_) return ok();
  return fail(Code::kFailedPrecondition, "ingest {} is over", row_.ref);
}

Status LocalIngest::write(Bytes bytes) {
  uint64_t at = offset();
  SKIFF_TRY(write_at(bytes, at));
  return advance(at + bytes.size());
}

Status LocalIngest::write_at(Bytes bytes, uint64_t offset) {
  SKIFF_TRY(check_open());
  if (unchecked_bytes_.fetch_add(bytes.size()) + bytes.size() >= kSpacePeriod) {
    unchecked_bytes_ = 0;
    SKIFF_TRY_WRAP(check_space(shared_, bytes.size()), "ingest {}", row_.ref);
  }
  SKIFF_TRY_WRAP(sys::pwrite_fd(fd_.get(), bytes, offset), "ingest {} at byte {}", row_.ref,
                 offset);
  return ok();
}

Status LocalIngest::advance(uint64_t offset) {
  SKIFF_TRY(check_open());
  if (offset < live_->offset)
    return fail(Code::kInvalidArgument, "ingest {}: advance from {} back to {}", row_.ref,
                live_->offset.load(), offset);
  live_->offset = offset;
  live_->updated = metadata::now();
  if (offset - saved_offset_ < kProgressBytes &&
      std::chrono::steady_clock::now() - saved_at_ < kProgressPeriod)
    return ok();
  return save_progress();
}

Status LocalIngest::truncate(uint64_t offset) {
  SKIFF_TRY(check_open());
  if (offset > live_->offset)
    return fail(Code::kInvalidArgument, "ingest {}: truncate to {}, past its end", row_.ref,
                offset);
  // The row first: it must never claim bytes that are written anew.
  live_->offset = offset;
  SKIFF_TRY(save_progress());
  if (ftruncate(fd_.get(), static_cast<off_t>(offset)) != 0)
    return fail_errno(errno, "truncate ingest {}", row_.ref);
  return ok();
}

Result<size_t> LocalIngest::read_at(MutableBytes buffer, uint64_t offset) {
  return SKIFF_TRY_WRAP(sys::pread_fd(fd_.get(), buffer, offset), "ingest {}", row_.ref);
}

Status LocalIngest::save_progress() {
  row_.offset = live_->offset;
  row_.updated = live_->updated;
  saved_offset_ = row_.offset;
  saved_at_ = std::chrono::steady_clock::now();
  // No lease is named: the row keeps the one it was started under, which may be gone by now.
  return shared_.metadata.write(context_, kProgress, Durability::kRides, [this](Transaction& txn) {
    return metadata::ingests::put(txn, context_.name_space(), row_, "");
  });
}

Result<Digest> LocalIngest::commit(const Context& context, const Expected& expected,
                                   const CommitOptions& options) {
  SKIFF_TRY(context.check());
  SKIFF_TRY(check_open());
  auto digest = verified(expected, options);
  if (!digest) {
    if (digest.error().is(Code::kDataLoss))
      if (Status dropped = discard(context); !dropped)
        log::warning("a bad ingest was not dropped",
                     {{"ref", row_.ref}, {"error", dropped.error()}});
    return digest;
  }
  if (options.durability == Durability::kDurable)
    SKIFF_TRY(sys::sync_fd(kSyncFile, fd_.get(), path()));
  auto held = shared_.digests.lock(digest->str());
  bool there = SKIFF_TRY(has_blob(context, shared_, *digest));
  SKIFF_TRY_WRAP(
      there ? join_blob(context, *digest, options) : become_blob(context, *digest, options),
      "commit {} as {}", row_.ref, *digest);
  done_ = true;
  release();
  return digest;
}

Result<Digest> LocalIngest::verified(const Expected& expected, const CommitOptions& options) {
  Expected both = SKIFF_TRY(merge({row_.expected, row_.total}, expected));
  struct stat st{};
  if (fstat(fd_.get(), &st) != 0) return fail_errno(errno, "stat ingest {}", row_.ref);
  if (static_cast<uint64_t>(st.st_size) != offset())
    return fail(Code::kDataLoss, "{}: the file has {} bytes, its contiguous prefix {}", row_.ref,
                st.st_size, offset());
  return verify(row_.ref, offset(), both, options.computed,
                [this](DigestAlgorithm algorithm) { return hash_file(path(), algorithm); });
}

// Verification failed: a retry starts anew.
Status LocalIngest::discard(const Context& context) {
  SKIFF_TRY(shared_.metadata.write(
      context.detached(), kDiscard, Durability::kRides, [this](Transaction& txn) {
        return metadata::ingests::remove(txn, context_.name_space(), row_.ref);
      }));
  done_ = true;
  Status removed = sys::remove_file(path());
  release();
  return removed;
}

Status LocalIngest::put_row(const Context& context, const Digest& digest,
                            const CommitOptions& options, const std::string& unconfirmed_boot) {
  metadata::Blob blob{.digest = digest,
                      .size = offset(),
                      .labels = options.labels,
                      .created = metadata::now(),
                      .updated = metadata::now(),
                      .unconfirmed_boot = unconfirmed_boot};
  return shared_.metadata.write(
      context, kCommit, options.durability, [&](Transaction& txn) -> Status {
        SKIFF_TRY(metadata::blobs::put(txn, context.name_space(), blob, context.lease()));
        return metadata::ingests::finish(txn, context_.name_space(), row_.ref);
      });
}

Status LocalIngest::become_blob(const Context& context, const Digest& digest,
                                const CommitOptions& options) {
  bool durable = options.durability == Durability::kDurable;
  sys::Path blob = shared_.layout.blob(digest);
  if (fchmod(fd_.get(), 0444) != 0) return fail_errno(errno, "chmod {}", path().string());
  SKIFF_TRY(sys::rename_path(kRename, path(), blob));
  Status status = durable ? sync_folder(shared_, digest) : ok();
  if (status) status = put_row(context, digest, options, durable ? "" : shared_.metadata.boot_id());
  if (status) return ok();
  // No row, no blob: the bytes stay an ingest that can be committed later.
  if (Status back = sys::rename_path(kRenameBack, blob, path()); !back)
    log::warning("a blob without a row is left",
                 {{"blob", blob.string()}, {"error", back.error()}});
  return status;
}

// Another ingest brought the same blob before.
Status LocalIngest::join_blob(const Context& context, const Digest& digest,
                              const CommitOptions& options) {
  bool durable = options.durability == Durability::kDurable;
  if (durable) {
    sys::Path blob = shared_.layout.blob(digest);
    sys::UniqueFd fd = SKIFF_TRY(sys::open_file(blob, O_RDONLY));
    SKIFF_TRY(sys::sync_fd(kSyncFile, fd.get(), blob));
    SKIFF_TRY(sync_folder(shared_, digest));
  }
  SKIFF_TRY(put_row(context, digest, options, durable ? "" : shared_.metadata.boot_id()));
  return sys::remove_file(path());
}

}  // namespace skiff::content::local
