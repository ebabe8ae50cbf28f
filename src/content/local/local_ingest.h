// An ingest into a file. Private to content/local.
#pragma once

#include <chrono>
#include <memory>

#include "content/content_store.h"
#include "content/local/shared.h"

namespace skiff::content::local {

// Starts or resumes the ingest whose writer's place in `shared.live` the caller has taken.
Result<std::unique_ptr<Ingest>> start_ingest(const Context& context, Shared& shared,
                                             const std::string& ref, const Expected& expected,
                                             std::shared_ptr<Live> live);

class LocalIngest final : public Ingest {
 public:
  LocalIngest(const Context& context, Shared& shared, metadata::Ingest row, sys::UniqueFd fd,
              std::shared_ptr<Live> live);
  // Leaves the ingest resumable at its last offset.
  ~LocalIngest() override;

  uint64_t offset() const override { return live_->offset; }
  Status write(Bytes bytes) override;
  Status write_at(Bytes bytes, uint64_t offset) override;
  Status advance(uint64_t offset) override;
  Status truncate(uint64_t offset) override;
  Result<size_t> read_at(MutableBytes buffer, uint64_t offset) override;
  Result<Digest> commit(const Context& context, const Expected& expected,
                        const CommitOptions& options) override;

 private:
  sys::Path path() const { return shared_.layout.ingest(row_.id); }
  Status check_open() const;
  void release();
  Status save_progress();
  Status discard(const Context& context);
  Result<Digest> verified(const Expected& expected, const CommitOptions& options);
  Status put_row(const Context& context, const Digest& digest, const CommitOptions& options,
                 const std::string& unconfirmed_boot);
  Status become_blob(const Context& context, const Digest& digest, const CommitOptions& options);
  Status join_blob(const Context& context, const Digest& digest, const CommitOptions& options);

  Context context_;  // of the opener, for progress
  Shared& shared_;
  metadata::Ingest row_;
  sys::UniqueFd fd_;
  std::shared_ptr<Live> live_;
  std::atomic<uint64_t> unchecked_bytes_{0};  // written since free space was last looked at
  uint64_t saved_offset_;
  std::chrono::steady_clock::time_point saved_at_;
  std::atomic<bool> done_{false};  // committed or discarded: the file is no longer ours to write
};

}  // namespace skiff::content::local
