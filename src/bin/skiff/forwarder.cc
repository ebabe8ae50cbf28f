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
  struct sigaction action {};
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
  quit_.reset(eventfd(0, EFD_CLOEXEC));
  SKIFF_CHECK(signals_ && quit_, "a few descriptors are free");
  thread_ = std::thread([this] { loop(); });
}

SignalForwarder::~SignalForwarder() {
  uint64_t one = 1;
  static_cast<void>(::write(quit_.get(), &one, sizeof one));
  thread_.join();
}

void SignalForwarder::started(Target target) {
  // The size may have changed while the container started.
  if (target.resize) target.resize();
  *target_.lock() = std::move(target);
}

void SignalForwarder::ended() { *target_.lock() = {}; }

void SignalForwarder::loop() {
  pollfd fds[] = {{signals_.get(), POLLIN, 0}, {quit_.get(), POLLIN, 0}};
  for (;;) {
    if (poll(fds, 2, -1) < 0) continue;
    if (fds[1].revents) return;
    signalfd_siginfo info{};
    while (::read(signals_.get(), &info, sizeof info) == sizeof info)
      handle(static_cast<int>(info.ssi_signo));
  }
}

void SignalForwarder::handle(int signal) {
  Target target = *target_.lock();
  if (signal == SIGWINCH) {
    if (target.resize) target.resize();
  } else if (target.kill) {
    target.kill(signal);
  } else {
    *stopped_by_.lock() = signal;
    stop_.request_stop();
  }
}

}  // namespace skiff::cli
