#include "bin/skiffd/gc_scheduler.h"

#include <algorithm>

#include <pthread.h>

namespace skiff::daemon {

GcScheduler::GcScheduler(Times times, std::function<void(std::stop_token)> collect)
    : times_(times), collect_(std::move(collect)), due_(Clock::now() + times.startup_delay),
      thread_([this](std::stop_token stop) { run(std::move(stop)); }) {}

GcScheduler::~GcScheduler() {
  thread_.request_stop();
  thread_.join();
}

void GcScheduler::removed() {
  auto due = due_.lock();
  // A burst of removals must not put the collection off for ever: the first one's time stands.
  auto soon = Clock::now() + times_.delay;
  *due = due->has_value() ? std::min(**due, soon) : soon;
  changed_.notify_all();
}

void GcScheduler::run(std::stop_token stop) {
  pthread_setname_np(pthread_self(), "skiff-gc");
  while (!stop.stop_requested()) {
    {
      auto due = due_.lock();
      auto is_due = [&] { return due->has_value() && **due <= Clock::now(); };
      while (!is_due() && !stop.stop_requested()) {
        auto before = *due;
        auto moved = [&] { return *due != before; };
        if (before) {
          due.wait_until(changed_, stop, *before, moved);
        } else {
          due.wait(changed_, stop, moved);
        }
      }
      if (stop.stop_requested()) return;
      *due = std::nullopt;
      if (times_.interval.count() > 0) *due = Clock::now() + times_.interval;
    }
    collect_(stop);
  }
}

}  // namespace skiff::daemon
