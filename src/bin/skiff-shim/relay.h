// A thread that copies from one descriptor to another.
#pragma once

#include <functional>
#include <memory>

#include "base/error.h"
#include "base/guarded.h"
#include "sys/fd.h"

namespace skiff::shim {

class Relay {
 public:
  // Copies until `from` ends or `stop`. When `to` fails the rest of `from` is read and dropped, so
  // its writer never blocks on a client that has gone. Both are closed at the end. Either may be
  // shared with other relays through dup.
  static Result<std::shared_ptr<Relay>> start(sys::UniqueFd from, sys::UniqueFd to);

  // Ends the copying as soon as it waits for bytes.
  void stop();
  // The writer of `from` has ended: `done` runs once all that is in there now has been copied, or
  // `from` has ended. Whoever else holds its other end may go on writing; that is copied, too.
  void when_drained(std::function<void()> done);

 private:
  struct State {
    bool ended = false;
    bool stopping = false;
    std::function<void()> drained;
  };
  Relay(sys::UniqueFd from, sys::UniqueFd to, sys::UniqueFd wake)
      : from_(std::move(from)), to_(std::move(to)), wake_(std::move(wake)) {}
  void run();
  bool copy_some();
  void write_all(const char* data, size_t size);
  void wake();

  sys::UniqueFd from_, to_, wake_;
  Guarded<State> state_;
};

}  // namespace skiff::shim
