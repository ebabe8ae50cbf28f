#include "metadata/writer.h"

#include <algorithm>
#include <climits>

#include <linux/futex.h>
#include <sqlite3.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "base/metrics/metrics.h"
#include "sys/thread.h"

namespace skiff::metadata {
namespace {

// The WAL is checkpointed once it holds this many pages (4 MiB) and then written from its start
// again: overwriting a file of stable size syncs several times faster than growing it.
constexpr int kCheckpointPages = 1024;
// What rides is on disk no later than this.
constexpr auto kLongestRide = std::chrono::seconds(1);
constexpr auto kIdle = std::chrono::seconds(5);
// How long a group may wait for as many callers as the last one had.
constexpr auto kLongestGather = std::chrono::microseconds(300);
constexpr size_t kStack = 256 * 1024;

Error stopped_error() {
  return Error(
      Code::kUnavailable,
      "the metadata store has stopped after an I/O error; see the log, then restart skiffd");
}

// Transactions over groups is what grouping saves.
metrics::Counter& transactions() {
  static metrics::Counter& counter = metrics::counter("skiff_metadata_transactions_total",
                                                      "Write transactions that were committed");
  return counter;
}
metrics::Counter& groups() {
  static metrics::Counter& counter = metrics::counter(
      "skiff_metadata_groups_total", "Commits of the database, of one or more transactions each");
  return counter;
}
metrics::Histogram& sync_seconds() {
  static metrics::Histogram& seconds = metrics::duration_histogram(
      "skiff_metadata_sync_seconds", "Time of a sync of the write-ahead log");
  return seconds;
}

}  // namespace

Writer::Writer(std::unique_ptr<Connection> connection, uint64_t generation,
               std::function<bool()> idle_work, std::function<void(const Error&)> on_failure)
    : connection_(std::move(connection)),
      idle_work_(std::move(idle_work)),
      on_failure_(std::move(on_failure)),
      committed_(generation),
      generation_(generation),
      checkpoint_at_(kCheckpointPages) {
  sqlite3_wal_hook(connection_->handle(), on_commit, this);
}

Writer::~Writer() {
  auto state = state_.lock();
  state->stopping = true;
  changed_.notify_all();
  if (state->started) state.wait(ended_, [&] { return state->ended; });
}

Status Writer::start() {
  state_.lock()->started = true;
  Status started = sys::start_thread("skiff-metadata", [this] { run(); }, kStack);
  if (!started) state_.lock()->started = false;
  return started;
}

Status Writer::submit(const Context& context, const CrashPoint& point, Durability durability,
                      const std::function<Status(Transaction&)>& fn) {
  SKIFF_CHECK(thread_.load(std::memory_order_relaxed) != std::this_thread::get_id(),
              "a transaction does not call the store");
  Request request{context, point, durability, fn, ok()};
  std::shared_ptr<Group> group;
  {
    auto state = state_.lock();
    if (state->stopping || failed()) return std::unexpected(stopped_error());
    group = state->forming;
    group->requests.push_back(&request);
    if (state->wake_at != 0 && group->requests.size() >= state->wake_at) changed_.notify_one();
  }
  group->wait_for(durability == Durability::kDurable ? kSynced : kCommitted);
  return std::move(request.result);
}

void Writer::wake_for_idle() {
  if (idle_asked_.exchange(true, std::memory_order_relaxed)) return;
  auto state = state_.lock();
  if (state->wake_at != 0) changed_.notify_one();
}

void Writer::Group::reach(Stage reached) {
  stage.store(reached, std::memory_order_release);
  syscall(SYS_futex, &stage, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

// A futex as it is: std::atomic::wait spins and yields first, which costs more than it saves where
// a commit takes a disk's time.
void Writer::Group::wait_for(Stage needed) {
  for (uint32_t now; (now = stage.load(std::memory_order_acquire)) < needed;)
    syscall(SYS_futex, &stage, FUTEX_WAIT_PRIVATE, now, nullptr, nullptr, 0);
}

void Writer::run() {
  thread_ = std::this_thread::get_id();
  while (std::shared_ptr<Group> group = next_group()) {
    process(*group);
    sync_when_due();
    checkpoint_when_due();
  }
  if (unsynced_since_)
    if (Status status = sync(); !status) note_failure(status.error());
  auto state = state_.lock();
  state->ended = true;
  ended_.notify_all();
}

std::shared_ptr<Writer::Group> Writer::next_group() {
  auto state = state_.lock();
  while (state->forming->requests.empty()) {
    if (state->stopping) return nullptr;
    if (idle_asked_ && !idle_since_) idle_since_ = Clock::now();
    auto alarm = next_alarm();
    auto due = [&] {
      return !state->forming->requests.empty() || state->stopping || (idle_asked_ && !idle_since_);
    };
    state->wake_at = 1;
    bool woken = true;
    if (alarm) {
      woken = state.wait_until(changed_, {}, *alarm, due);
    } else {
      state.wait(changed_, due);
    }
    state->wake_at = 0;
    if (woken) continue;
    // Time has come for one of these; both without the lock.
    state.unlock();
    sync_when_due();
    if (idle_since_ && Clock::now() >= *idle_since_ + kIdle) {
      idle_since_.reset();
      idle_asked_ = idle_work_();
    }
    state.relock();
  }
  gather(state);
  return std::exchange(state->forming, std::make_shared<Group>());
}

std::optional<Writer::Clock::time_point> Writer::next_alarm() const {
  std::optional<Clock::time_point> alarm;
  if (unsynced_since_) alarm = *unsynced_since_ + kLongestRide;
  if (idle_since_) alarm = std::min(alarm.value_or(Clock::time_point::max()), *idle_since_ + kIdle);
  return alarm;
}

// The callers of the last group come back a moment after it: a group that sets out with the first
// of them makes the others wait for two syncs instead of one.
void Writer::gather(Guarded<State>::Guard& state) {
  if (last_durable_ < 2 || state->forming->requests.size() >= last_durable_) return;
  auto until = Clock::now() + std::min<Clock::duration>(kLongestGather, last_sync_ / 2);
  state->wake_at = last_durable_;
  state.wait_until(changed_, {}, until, [&] {
    return state->forming->requests.size() >= last_durable_ || state->stopping;
  });
  state->wake_at = 0;
}

void Writer::process(Group& group) {
  last_durable_ = std::ranges::count(group.requests, Durability::kDurable,
                                     [](const Request* request) { return request->durability; });
  // Kept apart: a riding request is gone once the group has reached kCommitted.
  std::vector<const CrashPoint*> points;
  Status status = failed() ? Status(std::unexpected(stopped_error())) : run_all(group);
  if (status) {
    for (Request* request : group.requests)
      if (request->result) points.push_back(&request->point);
    for (const CrashPoint* point : points) point->before();
    status = commit();
  }
  if (!status) {
    (void)connection_->run("ROLLBACK");
    note_failure(status.error());
    fail_requests(group, status.error());
    return group.reach(kSynced);
  }
  transactions().increment(static_cast<double>(points.size()));
  groups().increment();
  if (last_durable_ == 0) {
    for (const CrashPoint* point : points) point->after();
    return group.reach(kSynced);
  }
  if (last_durable_ < group.requests.size()) {
    // From here on their callers may be gone.
    std::erase_if(group.requests,
                  [](Request* request) { return request->durability == Durability::kRides; });
    group.reach(kCommitted);
  }
  if (Status synced = unsynced_since_ ? sync() : ok(); !synced) {
    note_failure(synced.error());
    fail_requests(group, synced.error());
  } else {
    for (const CrashPoint* point : points) point->after();
  }
  group.reach(kSynced);
}

Status Writer::run_all(Group& group) {
  SKIFF_TRY(connection_->run("BEGIN IMMEDIATE"));
  for (Request* request : group.requests) SKIFF_TRY(run_one(*request));
  return ok();
}

// An error of the request's own goes to its result; one that took the whole group's transaction
// away (a full disk in the middle of a statement) is returned.
Status Writer::run_one(Request& request) {
  request.result = request.context.check();
  if (!request.result) return ok();
  SKIFF_TRY(connection_->run("SAVEPOINT one"));
  {
    Transaction transaction(*connection_, ++generation_);
    request.result = request.fn(transaction);
  }
  if (sqlite3_get_autocommit(connection_->handle()))
    return request.result ? Status(fail(Code::kInternal, "metadata: the transaction is gone"))
                          : request.result;
  if (!request.result) SKIFF_TRY(connection_->run("ROLLBACK TO one"));
  return connection_->run("RELEASE one");
}

Status Writer::commit() {
  SKIFF_TRY(connection_->run("COMMIT"));
  committed_.store(generation_, std::memory_order_release);
  return ok();
}

// Called by SQLite after each commit that wrote to the WAL.
int Writer::on_commit(void* self, sqlite3*, const char*, int pages) {
  auto* writer = static_cast<Writer*>(self);
  writer->wal_pages_ = pages;
  if (!writer->unsynced_since_) writer->unsynced_since_ = Clock::now();
  return SQLITE_OK;
}

Status Writer::sync() {
  sqlite3_file* wal = nullptr;
  int code =
      sqlite3_file_control(connection_->handle(), "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal);
  if (code != SQLITE_OK || wal == nullptr || wal->pMethods == nullptr)
    return fail(Code::kInternal, "metadata: SQLite does not show its write-ahead log");
  auto begin = Clock::now();
  code = wal->pMethods->xSync(wal, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY);
  if (code != SQLITE_OK)
    return std::unexpected(
        errno_error(errno, "sync the metadata's write-ahead log").with_code(Code::kDataLoss));
  last_sync_ = Clock::now() - begin;
  sync_seconds().observe(std::chrono::duration<double>(last_sync_).count());
  unsynced_since_.reset();
  return ok();
}

// What rides and was not taken along by a durable commit.
void Writer::sync_when_due() {
  if (!unsynced_since_ || Clock::now() < *unsynced_since_ + kLongestRide) return;
  if (Status status = sync(); !status) note_failure(status.error());
}

void Writer::fail_requests(Group& group, const Error& error) {
  for (Request* request : group.requests)
    if (request->result) request->result = std::unexpected(error);
}

// A full disk passes; after an I/O error nobody knows what the disk holds.
void Writer::note_failure(const Error& error) {
  log::error("metadata commit failed", {{"error", error}});
  if (!error.is(Code::kDataLoss) && !error.is(Code::kInternal)) return;
  unsynced_since_.reset();
  if (!failed_.exchange(true, std::memory_order_acq_rel) && on_failure_) on_failure_(error);
}

// PASSIVE: copies what no reader still needs and waits for nobody. When all of it was copied the
// next commit begins at the WAL's start again; else more is tried a quarter later.
void Writer::checkpoint_when_due() {
  if (wal_pages_ < checkpoint_at_ || failed()) return;
  int log = 0;
  int copied = 0;
  int code = sqlite3_wal_checkpoint_v2(connection_->handle(), "main", SQLITE_CHECKPOINT_PASSIVE,
                                       &log, &copied);
  if (code != SQLITE_OK) {
    Error error = connection_->error(code, "checkpoint metadata");
    log::warning("metadata checkpoint failed", {{"error", error}});
    if (error.is(Code::kDataLoss)) note_failure(error);
  }
  bool whole = code == SQLITE_OK && copied == log;
  checkpoint_at_ = whole ? kCheckpointPages : wal_pages_ + kCheckpointPages / 4;
  if (whole) wal_pages_ = 0;
}

}  // namespace skiff::metadata
