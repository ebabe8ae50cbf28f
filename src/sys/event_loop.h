// One thread that waits on many descriptors (epoll) and calls back. Nothing here polls: an idle
// loop wakes zero times a second.
//
// Callbacks run on the thread that runs the loop and must not block. add, modify, remove, post and
// stop may be called from any thread, callbacks included. After remove from another thread a
// callback that already began may still be running, so callbacks hold what they touch by
// shared_ptr; it never begins again.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "base/error.h"
#include "base/guarded.h"
#include "sys/fd.h"

namespace skiff::sys {

class EventLoop {
 public:
  using Callback = std::function<void(uint32_t events)>;  // EPOLLIN, EPOLLOUT, EPOLLHUP, ...
  using Token = uint64_t;                                 // names one registration; never reused

  static Result<std::shared_ptr<EventLoop>> create();

  // Level-triggered. The descriptor stays the caller's and must be removed before it is closed.
  Result<Token> add(int fd, uint32_t events, Callback callback);
  Status modify(Token token, uint32_t events);
  void remove(Token token);
  // Runs `task` on the loop's thread, in order.
  void post(std::function<void()> task);
  // Runs `task` on the loop's thread once, at least `delay` from now; remove(token) takes it back.
  Result<Token> after(std::chrono::milliseconds delay, std::function<void()> task);

  // Until stop. Call it from one thread.
  void run();
  void stop();

 private:
  struct Entry {
    int fd;
    Callback callback;
  };
  struct State {
    std::map<Token, std::shared_ptr<Entry>> entries;
    std::vector<std::function<void()>> tasks;
    Token next = 1;
    bool stopping = false;
  };

  EventLoop(UniqueFd epoll, UniqueFd wake) : epoll_(std::move(epoll)), wake_(std::move(wake)) {}
  void wake();
  void run_tasks();

  UniqueFd epoll_;
  UniqueFd wake_;  // an eventfd registered as token 0
  Guarded<State> state_;
};

// A loop with a thread of its own that all clients in this process share; started at first use and
// never stopped.
Result<std::shared_ptr<EventLoop>> shared_event_loop();

}  // namespace skiff::sys
