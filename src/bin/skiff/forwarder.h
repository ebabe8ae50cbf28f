// Passes signals and the terminal's size on to a container that runs in the foreground.
//
// Made first of all, while the process has one thread: every thread started later inherits the
// blocked signals. Until `started` a signal that ends programs asks the run itself to stop, others
// are kept; from then on every signal goes to the container.
#pragma once

#include <functional>
#include <stop_token>
#include <thread>
#include <vector>

#include "base/guarded.h"
#include "sys/fd.h"

namespace skiff::cli {

class SignalForwarder {
 public:
  SignalForwarder();
  ~SignalForwarder();

  // Requested when a signal came before the container ran.
  std::stop_token stop_token() const { return stop_.get_token(); }
  // The signal that did it, or 0.
  int stopped_by() const { return state_.lock()->stopped_by; }

  struct Target {
    std::function<void(int signal)> kill;
    std::function<void()> resize;  // may be empty
  };
  // Called on the forwarder's thread, one at a time, until `ended`.
  void started(Target target);
  void ended();

 private:
  struct State {
    Target target;
    std::vector<int> kept;
    int stopped_by = 0;
    bool resize = false;  // the container has not been told of the size yet
    bool quit = false;
  };
  void wake();
  void loop();
  void handle(int signal);
  void catch_up();

  sys::UniqueFd signals_, wake_;
  std::stop_source stop_;
  mutable Guarded<State> state_;
  std::thread thread_;
};

}  // namespace skiff::cli
