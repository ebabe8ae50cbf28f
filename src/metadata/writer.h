// The one writer: a thread with the writing connection. It takes all transactions that wait as a
// group, commits them together, syncs the WAL once where one of them asks for it, and checkpoints
// between groups. Internal to this folder.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "base/context.h"
#include "base/guarded.h"
#include "metadata/sqlite.h"

namespace skiff::metadata {

class Writer {
 public:
  using Clock = std::chrono::steady_clock;

  // `idle_work` runs on the writer's thread some seconds after wake_for_idle; true: call it again.
  // `on_failure` may be empty.
  Writer(std::unique_ptr<Connection> connection, uint64_t generation,
         std::function<bool()> idle_work, std::function<void(const Error&)> on_failure);
  // Commits and syncs what was accepted, then ends the thread.
  ~Writer();
  Status start();

  Status submit(const Context& context, const CrashPoint& point, Durability durability,
                const std::function<Status(Transaction&)>& fn);
  void wake_for_idle();
  uint64_t generation() const { return committed_.load(std::memory_order_acquire); }
  bool failed() const { return failed_.load(std::memory_order_acquire); }

 private:
  // One caller's transaction; lives on the caller's stack until its group has reached the stage
  // that it waits for.
  struct Request {
    const Context& context;
    const CrashPoint& point;
    Durability durability;
    const std::function<Status(Transaction&)>& fn;
    Status result;
  };
  enum Stage { kWaiting, kCommitted, kSynced };
  struct Group {
    std::vector<Request*> requests;
    std::atomic<uint32_t> stage = kWaiting;
    // Wakes all callers with one system call. A request may be gone once its stage is reached.
    void reach(Stage reached);
    void wait_for(Stage needed);
  };
  struct State {
    std::shared_ptr<Group> forming = std::make_shared<Group>();
    // The writer sleeps until this many requests wait; 0: it does not sleep.
    size_t wake_at = 0;
    bool stopping = false;
    bool started = false;
    bool ended = false;
  };

  void run();
  // The group that waits; null when the writer is to end. Does what time asks for meanwhile.
  std::shared_ptr<Group> next_group();
  std::optional<Clock::time_point> next_alarm() const;
  void gather(Guarded<State>::Guard& state);
  void process(Group& group);
  Status run_all(Group& group);
  Status run_one(Request& request);
  Status commit();
  Status sync();
  void sync_when_due();
  // Those that have not failed by themselves.
  void fail_requests(Group& group, const Error& error);
  void checkpoint_when_due();
  void note_failure(const Error& error);
  static int on_commit(void* self, sqlite3*, const char*, int pages);

  std::unique_ptr<Connection> connection_;
  std::function<bool()> idle_work_;
  std::function<void(const Error&)> on_failure_;
  Guarded<State> state_;
  std::condition_variable_any changed_;
  std::condition_variable_any ended_;
  std::atomic<std::thread::id> thread_;
  std::atomic<uint64_t> committed_;
  std::atomic<bool> failed_ = false;
  std::atomic<bool> idle_asked_ = false;

  // The writer's thread alone:
  uint64_t generation_;
  std::optional<Clock::time_point> unsynced_since_;
  std::optional<Clock::time_point> idle_since_;
  int wal_pages_ = 0;
  int checkpoint_at_;
  size_t last_durable_ = 0;      // durable requests in the last group
  Clock::duration last_sync_{};  // how long its sync took
};

}  // namespace skiff::metadata
