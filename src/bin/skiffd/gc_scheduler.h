// Decides when garbage is collected: a while after the start, shortly after something was removed
// (removals in a row are one collection), and now and then in any case.
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
  // `collect` runs on the scheduler's thread, one at a time; the token asks it to end early.
  GcScheduler(Times times, std::function<void(std::stop_token)> collect);
  // Waits for a collection that is under way, after asking it to end.
  ~GcScheduler();

  // Something was removed. Thread-safe, cheap.
  void removed();

 private:
  using Clock = std::chrono::steady_clock;
  void run(std::stop_token stop);

  const Times times_;
  const std::function<void(std::stop_token)> collect_;
  Guarded<std::optional<Clock::time_point>> due_;
  std::condition_variable_any changed_;
  std::jthread thread_;
};

}  // namespace skiff::daemon
