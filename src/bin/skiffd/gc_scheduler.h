// Decides when garbage is collected: a while after the start, shortly after something was removed
// (removals in a row are one collection), and now and then in any case. Where only files are left
// to remove (a container's root file system) they are swept without a collection.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <optional>
#include <stop_token>
#include <thread>

#include "base/guarded.h"

namespace skiff::daemon {

class GcScheduler {
 public:
  struct Times {
    std::chrono::milliseconds startup_delay, delay, interval;  // interval 0: never by itself
  };
  enum class Work { kSweep, kCollect };  // a collection sweeps, too
  // `work` runs on the scheduler's thread, one at a time; the token asks it to end early.
  GcScheduler(Times times, std::function<void(Work, std::stop_token)> work);
  // Waits for what is under way, after asking it to end.
  ~GcScheduler();

  // Something became garbage. Thread-safe, cheap.
  void removed() { soon(&Due::collect); }
  // Rows went, their files are still there. Thread-safe, cheap.
  void left_files() { soon(&Due::sweep); }

 private:
  using Clock = std::chrono::steady_clock;
  using Time = std::optional<Clock::time_point>;
  struct Due {
    Time collect, sweep;
    Time next() const;
  };
  void soon(Time Due::* what);
  // What is due now, after waiting for it; nothing when asked to stop.
  std::optional<Work> wait(const std::stop_token& stop);
  void run(const std::stop_token& stop);

  const Times times_;
  const std::function<void(Work, std::stop_token)> work_;
  Guarded<Due> due_;
  std::condition_variable_any changed_;
  std::jthread thread_;
};

}  // namespace skiff::daemon
