#include "bin/skiff-shim/relay.h"

#include <cerrno>

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "sys/thread.h"

namespace skiff::shim {
namespace {

// A pty passes bytes on a moment after they were written; a pipe at once.
constexpr int kSettleMs = 20;

}  // namespace

Result<std::shared_ptr<Relay>> Relay::start(sys::UniqueFd from, sys::UniqueFd to) {
  sys::UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return fail_errno(errno, "make an eventfd");
  std::shared_ptr<Relay> relay(new Relay(std::move(from), std::move(to), std::move(wake)));
  SKIFF_TRY(sys::start_thread("skiff-relay", [relay] { relay->run(); }));
  return relay;
}

void Relay::wake() {
  uint64_t one = 1;
  [[maybe_unused]] auto written = ::write(wake_.get(), &one, sizeof one);
}

void Relay::stop() {
  state_.lock()->stopping = true;
  wake();
}

void Relay::when_drained(std::function<void()> done) {
  {
    auto state = state_.lock();
    if (!state->ended) {
      state->drained = std::move(done);
      wake();
      return;
    }
  }
  done();
}

void Relay::run() {
  bool open = true;
  while (open) {
    bool draining = false;
    {
      auto state = state_.lock();
      if (state->stopping) break;
      draining = state->drained != nullptr;
    }
    pollfd ready[] = {{from_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
    int count = ::poll(ready, 2, draining ? kSettleMs : -1);
    if (ready[1].revents != 0) {
      uint64_t value;
      [[maybe_unused]] auto got = ::read(wake_.get(), &value, sizeof value);
    }
    if (count > 0 && ready[0].revents != 0) open = copy_some();
    if (count == 0) {
      auto drained = std::exchange(state_.lock()->drained, nullptr);
      if (drained) drained();
    }
  }
  from_.reset();
  to_.reset();
  auto state = state_.lock();
  state->ended = true;
  auto drained = std::exchange(state->drained, nullptr);
  state.unlock();
  if (drained) drained();
}

bool Relay::copy_some() {
  char buffer[16 << 10];
  ssize_t got = ::read(from_.get(), buffer, sizeof buffer);
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return true;
  if (got <= 0) return false;  // the end; of a pty EIO says so
  write_all(buffer, static_cast<size_t>(got));
  return true;
}

void Relay::write_all(const char* data, size_t size) {
  while (size > 0 && to_) {
    ssize_t sent = ::write(to_.get(), data, size);
    if (sent >= 0) {
      data += sent;
      size -= static_cast<size_t>(sent);
    } else if (errno == EAGAIN) {
      pollfd ready{to_.get(), POLLOUT, 0};
      ::poll(&ready, 1, -1);
    } else if (errno != EINTR) {
      to_.reset();
    }
  }
}

}  // namespace skiff::shim
