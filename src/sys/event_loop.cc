#include "sys/event_loop.h"

#include <algorithm>
#include <cerrno>

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include "base/check.h"
#include "sys/thread.h"

namespace skiff::sys {

Result<std::shared_ptr<EventLoop>> EventLoop::create() {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return fail_errno(errno, "make an epoll descriptor");
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return fail_errno(errno, "make an eventfd");
  epoll_event event{.events = EPOLLIN, .data = {.u64 = 0}};
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &event) != 0)
    return fail_errno(errno, "watch an eventfd");
  return std::shared_ptr<EventLoop>(new EventLoop(std::move(epoll), std::move(wake)));
}

Result<EventLoop::Token> EventLoop::add(int fd, uint32_t events, Callback callback) {
  auto state = state_.lock();
  Token token = state->next++;
  epoll_event event{.events = events, .data = {.u64 = token}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0)
    return fail_errno(errno, "watch descriptor {}", fd);
  state->entries.emplace(token, std::make_shared<Entry>(fd, std::move(callback)));
  return token;
}

Status EventLoop::modify(Token token, uint32_t events) {
  auto state = state_.lock();
  auto found = state->entries.find(token);
  if (found == state->entries.end()) return fail(Code::kNotFound, "not watched any more");
  epoll_event event{.events = events, .data = {.u64 = token}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, found->second->fd, &event) != 0)
    return fail_errno(errno, "watch descriptor {}", found->second->fd);
  return ok();
}

void EventLoop::remove(Token token) {
  std::shared_ptr<Entry> entry;  // its callback may own much: destroyed after the lock
  auto state = state_.lock();
  auto found = state->entries.find(token);
  if (found == state->entries.end()) return;
  entry = std::move(found->second);
  state->entries.erase(found);
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, entry->fd, nullptr);
  state.unlock();
}

void EventLoop::post(std::function<void()> task) {
  state_.lock()->tasks.push_back(std::move(task));
  wake();
}

Result<EventLoop::Token> EventLoop::after(std::chrono::milliseconds delay,
                                          std::function<void()> task) {
  // The callback owns the descriptor; one removal from within closes it after the callback's end.
  struct Timer {
    UniqueFd fd;
    Token token = 0;
    std::function<void()> task;
  };
  auto timer = std::make_shared<Guarded<Timer>>();
  auto locked = timer->lock();  // it may fire before add returns
  locked->fd.reset(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!locked->fd) return fail_errno(errno, "make a timer");
  auto nanos = std::max<int64_t>(std::chrono::nanoseconds(delay).count(), 1);
  itimerspec when{{}, {nanos / 1'000'000'000, nanos % 1'000'000'000}};
  ::timerfd_settime(locked->fd.get(), 0, &when, nullptr);
  locked->task = std::move(task);
  locked->token = SKIFF_TRY(add(locked->fd.get(), EPOLLIN, [this, timer](uint32_t) {
    auto fired = timer->lock();
    Token token = fired->token;
    auto run = std::move(fired->task);
    fired.unlock();
    remove(token);
    if (run) run();
  }));
  return locked->token;
}

void EventLoop::stop() {
  state_.lock()->stopping = true;
  wake();
}

void EventLoop::wake() {
  uint64_t one = 1;
  // Fails only when the counter is full, and then the loop is awake anyway.
  [[maybe_unused]] auto written = ::write(wake_.get(), &one, sizeof one);
}

void EventLoop::run_tasks() {
  uint64_t count;
  [[maybe_unused]] auto got = ::read(wake_.get(), &count, sizeof count);
  std::vector<std::function<void()>> tasks = std::move(state_.lock()->tasks);
  for (auto& task : tasks) task();
}

void EventLoop::run() {
  epoll_event events[16];
  while (!state_.lock()->stopping) {
    int count = ::epoll_wait(epoll_.get(), events, std::size(events), -1);
    SKIFF_CHECK(count >= 0 || errno == EINTR, "epoll_wait on our own descriptor");
    for (int i = 0; i < count; ++i) {
      if (events[i].data.u64 == 0) {
        run_tasks();
        continue;
      }
      std::shared_ptr<Entry> entry;
      {
        auto state = state_.lock();
        auto found = state->entries.find(events[i].data.u64);
        if (found == state->entries.end()) continue;
        entry = found->second;
      }
      entry->callback(events[i].events);
    }
  }
}

Result<std::shared_ptr<EventLoop>> shared_event_loop() {
  static Guarded<std::shared_ptr<EventLoop>>& shared = *new Guarded<std::shared_ptr<EventLoop>>;
  auto loop = shared.lock();
  if (!*loop) {
    std::shared_ptr<EventLoop> made = SKIFF_TRY(EventLoop::create());
    SKIFF_TRY(start_thread("skiff-loop", [made] { made->run(); }));
    *loop = std::move(made);
  }
  return *loop;
}

}  // namespace skiff::sys
