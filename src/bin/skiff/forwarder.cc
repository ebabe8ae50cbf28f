#include "bin/skiff/forwarder.h"

#include <csignal>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/check.h"

namespace skiff::cli {
namespace {

constexpr int kForwarded[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGABRT};

bool is_ignored(int signal) {
  struct sigaction action{};
  return sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

sigset_t forwarded_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGWINCH);
  for (int signal = SIGRTMIN; signal <= SIGRTMAX; ++signal) sigaddset(&set, signal);
  for (int signal : kForwarded) {
    // nohup's wish is kept. A shell ignores the others for its background jobs only to spare them
    // the keyboard's signals; who sends one to us means the container.
    if (signal == SIGHUP && is_ignored(signal)) continue;
    std::signal(signal, SIG_DFL);
    sigaddset(&set, signal);
  }
  return set;
}

}  // namespace

SignalForwarder::SignalForwarder() {
  sigset_t set = forwarded_signals();
  SKIFF_CHECK(pthread_sigmask(SIG_BLOCK, &set, nullptr) == 0, "signals can be blocked");
  signals_.reset(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  wake_.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  SKIFF_CHECK(signals_ && wake_, "a few descriptors are free");
  thread_ = std::thread([this] { loop(); });
}

SignalForwarder::~SignalForwarder() {
  state_.lock()->quit = true;
  wake();
  thread_.join();
}

void SignalForwarder::started(Target target) {
  auto state = state_.lock();
  state->target = std::move(target);
  // It may have changed while the container started.
  state->resize = true;
  state.unlock();
  wake();
}

void SignalForwarder::ended() { state_.lock()->target = {}; }

void SignalForwarder::wake() {
  uint64_t one = 1;
  static_cast<void>(::write(wake_.get(), &one, sizeof one));
}

void SignalForwarder::loop() {
  pollfd fds[] = {{signals_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
  for (;;) {
    if (poll(fds, 2, -1) < 0) continue;
    if (fds[1].revents) {
      uint64_t count = 0;
      static_cast<void>(::read(wake_.get(), &count, sizeof count));
      if (state_.lock()->quit) return;
      catch_up();
    }
    signalfd_siginfo info{};
    while (::read(signals_.get(), &info, sizeof info) == sizeof info)
      handle(static_cast<int>(info.ssi_signo));
  }
}

void SignalForwarder::handle(int signal) {
  auto state = state_.lock();
  if (state->target.kill) {
    Target target = state->target;
    state.unlock();
    if (signal != SIGWINCH) return target.kill(signal);
    if (target.resize) target.resize();
  } else if (signal == SIGWINCH) {
    state->resize = true;
  } else if (signal == SIGINT || signal == SIGTERM || signal == SIGHUP || signal == SIGQUIT) {
    state->stopped_by = signal;
    state.unlock();
    stop_.request_stop();
  } else {
    state->kept.push_back(signal);
  }
}

// What came before the container ran.
void SignalForwarder::catch_up() {
  auto state = state_.lock();
  Target target = state->target;
  if (!target.kill) return;
  std::vector<int> kept = std::exchange(state->kept, {});
  bool resize = std::exchange(state->resize, false);
  state.unlock();
  if (resize && target.resize) target.resize();
  for (int signal : kept) target.kill(signal);
}

}  // namespace skiff::cli
