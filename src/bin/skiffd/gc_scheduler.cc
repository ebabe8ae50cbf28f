#include "bin/skiffd/gc_scheduler.h"

#include <algorithm>

#include <pthread.h>

namespace skiff::daemon {

GcScheduler::GcScheduler(Times times, std::function<void(Work, std::stop_token)> work)
    : times_(times),
      work_(std::move(work)),
      due_(Due{.collect = Clock::now() + times.startup_delay}),
      thread_([this](std::stop_token stop) { run(stop); }) {}

GcScheduler::~GcScheduler() {
  thread_.request_stop();
  thread_.join();
}

GcScheduler::Time GcScheduler::Due::next() const {
  return collect && sweep ? std::min(collect, sweep) : collect ? collect : sweep;
}

void GcScheduler::soon(Time Due::* what) {
  auto due = due_.lock();
  Time& time = (*due).*what;
  // A burst of removals must not put it off for ever: the first one's time stands.
  auto then = Clock::now() + times_.delay;
  time = time ? std::min(*time, then) : then;
  changed_.notify_all();
}

std::optional<GcScheduler::Work> GcScheduler::wait(const std::stop_token& stop) {
  auto due = due_.lock();
  while (!stop.stop_requested()) {
    auto now = Clock::now();
    if (due->collect && *due->collect <= now) {
      *due = {};
      if (times_.interval.count() > 0) due->collect = now + times_.interval;
      return Work::kCollect;
    }
    if (due->sweep && *due->sweep <= now) {
      due->sweep.reset();
      return Work::kSweep;
    }
    Time next = due->next();
    auto moved = [&] { return due->next() != next; };
    if (next) {
      due.wait_until(changed_, stop, *next, moved);
    } else {
      due.wait(changed_, stop, moved);
    }
  }
  return std::nullopt;
}

void GcScheduler::run(const std::stop_token& stop) {
  pthread_setname_np(pthread_self(), "skiff-gc");
  while (auto work = wait(stop)) work_(*work, stop);
}

}  // namespace skiff::daemon
