#include "metadata/confirm.h"

#include <condition_variable>
#include <optional>

#include "base/guarded.h"
#include "base/log.h"
#include "metadata/rows.h"
#include "metadata/sqlite.h"
#include "sys/thread.h"

namespace skiff::metadata {
namespace {

using Clock = std::chrono::steady_clock;

// After a round that could not finish (a full disk, say).
constexpr auto kRetry = std::chrono::seconds(30);

const CrashPoint kSync{"metadata.confirm.sync"};
const CrashPoint kConfirm{"metadata.confirm"};
const CrashPoint kMarkFailed{"metadata.confirm.failed"};

Result<bool> anything_to_confirm(Store& store) {
  bool found = false;
  SKIFF_TRY(store.read(Context(), [&](Reader& reader) -> Status {
    Statement find(reader, R"(
        SELECT EXISTS (SELECT 1 FROM blobs WHERE unconfirmed_boot = ?1 AND unconfirmed_boot <> '')
            OR EXISTS (SELECT 1 FROM snapshots WHERE unconfirmed_boot = ?1 AND unconfirmed_boot <> ''))",
                   store.boot_id());
    SKIFF_TRY(find.next());
    found = find.integer(0) != 0;
    return ok();
  }));
  return found;
}

Status mark_failed(Store& store) {
  return store.write(Context(), kMarkFailed, Durability::kDurable, [](Transaction& txn) -> Status {
    Statement blobs(txn, "UPDATE blobs SET unconfirmed_boot = ? WHERE unconfirmed_boot <> ''",
                    std::string_view(kSyncFailed));
    SKIFF_TRY(blobs.run());
    Statement snapshots(txn,
                        "UPDATE snapshots SET unconfirmed_boot = ? WHERE unconfirmed_boot <> ''",
                        std::string_view(kSyncFailed));
    SKIFF_TRY(snapshots.run());
    return ok();
  });
}

}  // namespace

struct Confirmer::Shared {
  struct Waiter {
    std::optional<Status> result;
  };
  struct State {
    std::optional<Clock::time_point> due;
    std::vector<std::shared_ptr<Waiter>> waiters;  // for the next round
    bool stopping = false;
    bool ended = false;
  };

  Store& store;
  std::vector<FileSystem> systems;
  Options options;
  Guarded<State> state;
  std::condition_variable_any changed;
};

Result<std::unique_ptr<Confirmer>> Confirmer::start(Store& store, std::vector<FileSystem> systems,
                                                    Options options) {
  auto shared = std::make_shared<Shared>(store, std::move(systems), std::move(options));
  SKIFF_TRY(sys::start_thread("skiff-confirm", [shared] { run(*shared); }));
  return std::unique_ptr<Confirmer>(new Confirmer(std::move(shared)));
}

Confirmer::~Confirmer() {
  auto state = shared_->state.lock();
  state->stopping = true;
  shared_->changed.notify_all();
  state.wait(shared_->changed, [&] { return state->ended; });
}

void Confirmer::note_written() {
  auto state = shared_->state.lock();
  if (state->due) return;
  state->due = Clock::now() + shared_->options.delay;
  shared_->changed.notify_all();
}

Status Confirmer::confirm_now(const Context& context) {
  auto state = shared_->state.lock();
  auto waiter = std::make_shared<Shared::Waiter>();
  state->waiters.push_back(waiter);
  shared_->changed.notify_all();
  auto until = context.deadline().value_or(Clock::time_point::max());
  bool done = state.wait_until(shared_->changed, context.stop_token(), until,
                               [&] { return waiter->result || state->ended; });
  if (waiter->result) return *waiter->result;
  if (!done) SKIFF_TRY(context.check());
  return fail(Code::kUnavailable, "the daemon is stopping");
}

void Confirmer::run(Shared& shared) {
  auto state = shared.state.lock();
  auto wanted = [&] { return state->stopping || !state->waiters.empty(); };
  while (!state->stopping) {
    if (state->due) {
      state.wait_until(shared.changed, {}, *state->due, wanted);
    } else {
      state.wait(shared.changed, [&] { return wanted() || state->due; });
    }
    bool due = state->due && Clock::now() >= *state->due;
    if (state->stopping || (!due && state->waiters.empty())) continue;
    auto waiters = std::exchange(state->waiters, {});
    state->due.reset();
    state.unlock();
    Status status = round(shared);
    state.relock();
    if (!status) {
      log::warning("confirming failed", {{"error", status.error()}});
      state->due = state->due.value_or(Clock::now() + kRetry);
    }
    for (auto& waiter : waiters) waiter->result = status;
    shared.changed.notify_all();
  }
  state->ended = true;
  shared.changed.notify_all();
}

Status Confirmer::round(Shared& shared) {
  Store& store = shared.store;
  uint64_t generation = store.generation();
  if (!SKIFF_TRY(anything_to_confirm(store))) return store.flush(Context());
  Status synced;
  for (const FileSystem& system : shared.systems) {
    Status status = shared.options.sync
                        ? shared.options.sync(system.name)
                        : sys::sync_file_system(kSync, system.fd.get(), system.name);
    if (!status && synced) synced = std::move(status);
  }
  if (!synced) {
    log::error("a sync failed; what it was to confirm is suspect now", {{"error", synced.error()}});
    SKIFF_TRY(mark_failed(store));
    if (shared.options.on_failure) shared.options.on_failure(synced.error());
    return synced;
  }
  return store.write(Context(), kConfirm, Durability::kDurable, [&](Transaction& txn) -> Status {
    SKIFF_TRY(blobs::confirm(txn, store.boot_id(), generation));
    return snapshots::confirm(txn, store.boot_id(), generation);
  });
}

}  // namespace skiff::metadata
