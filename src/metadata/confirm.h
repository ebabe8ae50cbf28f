// Puts what rode on disk, in the background: some time after something was written it syncs the
// file systems and then clears the unconfirmed boot of the rows that stood before the sync.
//
// A row is written after its files are complete, so a sync that begins after the row's transaction
// covers them. A sync that fails (EIO, ENOSPC) says so once and not for which file: every row that
// is unconfirmed then is marked kSyncFailed, which no later sync clears; blobs::suspects and
// snapshots::suspects list it until its owner has verified or rewritten the bytes.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/context.h"
#include "metadata/store.h"
#include "sys/fd.h"
#include "sys/file.h"

namespace skiff::metadata {

// Stands in unconfirmed_boot in place of a boot's id.
inline constexpr char kSyncFailed[] = "sync-failed";

// Thread-safe.
class Confirmer {
 public:
  // Opened before anything is written to it: syncfs(2) reports the errors since then. All that hold
  // bytes of rows are given; the same one twice is synced twice.
  struct FileSystem {
    sys::UniqueFd fd;
    sys::Path name;
  };
  struct Options {
    // From the first note_written to the sync: a burst is synced once.
    std::chrono::milliseconds delay{2000};
    // Called on the confirmer's thread after a sync has failed and the rows are marked.
    std::function<void(const Error&)> on_failure;
    // Tests: in place of syncfs(2).
    std::function<Status(const sys::Path& name)> sync;
  };

  // `store` must outlive it.
  static Result<std::unique_ptr<Confirmer>> start(Store& store, std::vector<FileSystem> systems,
                                                  Options options);
  // Ends the thread, without a last round; what is unconfirmed stays so.
  ~Confirmer();

  // Files were written and their rows committed.
  void note_written();
  // Returns once all whose rows are committed now is confirmed, and on disk itself. DataLoss or
  // ResourceExhausted when the sync failed.
  Status confirm_now(const Context& context);

 private:
  struct Shared;
  explicit Confirmer(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}
  static void run(Shared& shared);
  static Status round(Shared& shared);

  std::shared_ptr<Shared> shared_;
};

}  // namespace skiff::metadata
