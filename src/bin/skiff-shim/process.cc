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

void Process::when_exited(std::function<void(const ExitResponse&)> done) {
  auto state = state_.lock();
  if (!state->exit) {
    state->waiters.push_back(std::move(done));
    return;
  }
  ExitResponse exit = *state->exit;
  state.unlock();
  done(exit);
}

void Process::finish(const ExitResponse& exit) {
  std::vector<std::function<void(const ExitResponse&)>> waiters;
  {
    auto state = state_.lock();
    state->status = TaskStatus::kStopped;
    state->exit = exit;
    state->pidfd.reset();
    waiters.swap(state->waiters);
  }
  for (auto& waiter : waiters) waiter(exit);
}

}  // namespace skiff::shim
