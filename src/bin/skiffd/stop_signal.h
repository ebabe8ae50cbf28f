// Why the daemon is to stop, and waiting for it.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/guarded.h"
#include "sys/fd.h"

namespace skiff::daemon {

class StopSignal {
 public:
  // Blocks SIGTERM, SIGINT and SIGHUP in this thread and those started after it, and ignores
  // SIGPIPE: call it before there are other threads.
  static Result<StopSignal> install();

  // A part that nothing works without has ended. Thread-safe; the first one counts.
  void critical_part_ended(const std::string& part, const Error& error);
  // Waits for SIGTERM or SIGINT (ok) or a critical part's end (its error). SIGHUP is ignored.
  Status wait();

 private:
  StopSignal(sys::UniqueFd signals, sys::UniqueFd event)
      : signals_(std::move(signals)), event_(std::move(event)) {}

  sys::UniqueFd signals_;  // a signalfd
  sys::UniqueFd event_;    // an eventfd
  std::shared_ptr<Guarded<std::optional<Error>>> error_ =
      std::make_shared<Guarded<std::optional<Error>>>();
};

}  // namespace skiff::daemon
