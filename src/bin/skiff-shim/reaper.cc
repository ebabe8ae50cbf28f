#include "bin/skiff-shim/reaper.h"

#include <chrono>
#include <csignal>
#include <optional>

namespace skiff::shim {

Reaper::Window::Window(Reaper& reaper) : reaper_(reaper) { reaper_.state_.lock()->windows++; }

Reaper::Window::~Window() {
  auto state = reaper_.state_.lock();
  if (--state->windows == 0) state->unclaimed.clear();
}

void Reaper::reap() {
  while (true) {
    Handler handler;
    Exit exit;
    {
      // Under the lock, so that `run` registers a child before its exit can be looked up.
      auto state = state_.lock();
      auto ended = sys::reap();
      if (!ended || !*ended) return;
      exit = {(*ended)->status(), (*ended)->signal, std::chrono::system_clock::now()};
      auto found = state->handlers.find((*ended)->pid);
      if (found == state->handlers.end()) {
        if (state->windows > 0) state->unclaimed[(*ended)->pid] = exit;
        continue;
      }
      handler = std::move(found->second);
      state->handlers.erase(found);
    }
    handler(exit);
  }
}

void Reaper::watch(int pid, Handler handler) {
  Exit exit;
  {
    auto state = state_.lock();
    auto found = state->unclaimed.find(pid);
    if (found == state->unclaimed.end()) {
      state->handlers[pid] = std::move(handler);
      return;
    }
    exit = found->second;
    state->unclaimed.erase(found);
  }
  handler(exit);
}

Result<Exit> Reaper::run(const Context& context, const sys::SpawnOptions& options) {
  struct Waiter {
    Guarded<std::optional<Exit>> exit;
    std::condition_variable_any changed;
  };
  auto waiter = std::make_shared<Waiter>();
  sys::Child child;
  {
    auto state = state_.lock();
    child = SKIFF_TRY(sys::spawn(options));
    state->handlers[child.pid] = [waiter](const Exit& exit) {
      *waiter->exit.lock() = exit;
      waiter->changed.notify_all();
    };
  }
  auto exit = waiter->exit.lock();
  auto ended = [&] { return exit->has_value(); };
  if (auto deadline = context.deadline()) {
    exit.wait_until(waiter->changed, context.stop_token(), *deadline, ended);
  } else {
    exit.wait(waiter->changed, context.stop_token(), ended);
  }
  if (exit->has_value()) return **exit;
  static_cast<void>(sys::send_signal(child.pidfd, SIGKILL));
  exit.wait(waiter->changed, ended);
  SKIFF_TRY_WRAP(context.check(), "{}", options.program);
  return fail(Code::kDeadlineExceeded, "{} did not end in time", options.program);
}

}  // namespace skiff::shim
