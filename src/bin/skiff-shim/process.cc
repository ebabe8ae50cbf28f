#include "bin/skiff-shim/process.h"

namespace skiff::shim {

void Process::set_pid(int pid) {
  auto pidfd = sys::open_pidfd(pid);  // fails when it has ended already
  auto state = state_.lock();
  state->pid = pid;
  if (pidfd) state->pidfd = std::move(*pidfd);
}

Status Process::signal(int number) {
  auto state = state_.lock();
  if (state->status == TaskStatus::kStopped || !state->pidfd)
    return fail(Code::kNotFound, "the process has already ended or has not started");
  return sys::send_signal(state->pidfd, number);
}

int Process::when_exited(Waiter done) {
  auto state = state_.lock();
  if (!state->exit) {
    int number = state->next_waiter++;
    state->waiters.emplace(number, std::move(done));
    return number;
  }
  ExitResponse exit = *state->exit;
  state.unlock();
  done(exit);
  return 0;
}

void Process::forget(int waiter) {
  // What the waiter holds may end with it: outside the lock.
  auto gone = state_.lock()->waiters.extract(waiter);
}

void Process::finish(const ExitResponse& exit) {
  std::map<int, Waiter> waiters;
  {
    auto state = state_.lock();
    state->status = TaskStatus::kStopped;
    state->exit = exit;
    state->pidfd.reset();
    waiters.swap(state->waiters);
  }
  for (auto& [number, waiter] : waiters) waiter(exit);
}

}  // namespace skiff::shim
