// One I/O thread over a libcurl multi handle. Internal to http/.
//
// The thread and the multi handle (with its kept connections) exist from the first transfer until
// nothing has run for `idle`. Thread-safe.
#pragma once

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "base/guarded.h"
#include "http/transfer.h"

namespace skiff::http {

class Loop {
 public:
  Loop(std::string name, std::chrono::milliseconds idle);
  // Ends what runs with Canceled.
  ~Loop();

  // Takes the transfer until its wait() returns true.
  void submit(Transfer& transfer);
  // Makes the thread look at cancelled transfers now.
  void wake();
  // How many transfers it holds: for choosing the least busy loop.
  int load() const { return load_; }

 private:
  struct State {
    std::vector<Transfer*> incoming;
    CURLM* multi = nullptr;  // set while the thread runs
    bool stopping = false;
  };

  void run();
  void admit(CURLM* multi);
  void drop_ended(CURLM* multi);
  void settle_finished(CURLM* multi);
  void step(CURLM* multi);
  int poll_timeout(Transfer::Clock::time_point idle_since) const;
  // True when the thread is to end; nothing comes in after that.
  bool should_end(Transfer::Clock::time_point idle_since);
  void end_all(CURLM* multi);

  const std::string name_;
  const std::chrono::milliseconds idle_;
  Guarded<State> state_;
  std::atomic<int> load_ = 0;
  std::vector<Transfer*> active_;  // the thread's own
  Guarded<std::jthread> thread_;
};

}  // namespace skiff::http
