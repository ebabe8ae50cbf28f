#include "bin/skiffd/stop_signal.h"

#include <cerrno>
#include <csignal>
#include <cstring>

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>

#include "base/log.h"

namespace skiff::daemon {

Result<StopSignal> StopSignal::install() {
  std::signal(SIGPIPE, SIG_IGN);
  sigset_t set;
  sigemptyset(&set);
  for (int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, number);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  sys::UniqueFd signals(signalfd(-1, &set, SFD_CLOEXEC));
  sys::UniqueFd event(eventfd(0, EFD_CLOEXEC));
  if (!signals || !event) return fail_errno(errno, "signalfd, eventfd");
  return StopSignal(std::move(signals), std::move(event));
}

void StopSignal::critical_part_ended(const std::string& part, const Error& error) {
  auto first = error_->lock();
  if (!first->has_value()) *first = error.wrap(part + " ended");
  eventfd_write(event_.get(), 1);
}

Status StopSignal::wait() {
  while (true) {
    pollfd ready[] = {{signals_.get(), POLLIN, 0}, {event_.get(), POLLIN, 0}};
    if (poll(ready, 2, -1) < 0) {
      if (errno == EINTR) continue;
      return fail_errno(errno, "poll");
    }
    if (ready[1].revents != 0) return std::unexpected(**error_->lock());
    signalfd_siginfo info{};
    if (read(signals_.get(), &info, sizeof info) != sizeof info) continue;
    if (info.ssi_signo == SIGHUP) continue;
    log::info("stopping", {{"signal", strsignal(static_cast<int>(info.ssi_signo))}});
    return ok();
  }
}

}  // namespace skiff::daemon
