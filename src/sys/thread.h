// Threads that cost little memory, and a pool of them that grows with the work and shrinks when
// idle.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/guarded.h"

namespace skiff::sys {

inline constexpr size_t kSmallStack = 128 * 1024;

// Starts a detached thread with all signals blocked. ResourceExhausted when the kernel refuses.
Status start_thread(const char* name, std::function<void()> body, size_t stack_size = kSmallStack);

// Runs tasks on at most `max_threads` threads, started as tasks come and ended after `kIdle`
// without one. Tasks beyond that wait in order; beyond `max_queued` they are refused. Thread-safe.
class WorkerPool {
 public:
  struct Options {
    const char* name = "skiff-worker";  // must live as long as the pool
    size_t max_threads = 64;
    size_t max_queued = 4096;
    size_t stack_size = kSmallStack;
  };
  explicit WorkerPool(Options options);
  // Takes no more tasks; those accepted still run. Does not wait, so a task may end its own pool.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  // Takes no more tasks and waits for those accepted. Not from a task.
  void drain();

  // ResourceExhausted when the queue is full, Unavailable after drain.
  Status submit(std::function<void()> task);

 private:
  struct State {
    std::deque<std::function<void()>> queue;
    size_t threads = 0;
    size_t idle = 0;
    bool closing = false;
  };
  struct Shared {
    Guarded<State> state;
    std::condition_variable_any changed;
  };
  static void work(const std::shared_ptr<Shared>& shared);

  Options options_;
  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
};

}  // namespace skiff::sys
