// Sends events to the daemon that asked for them (containerd's TTRPC_ADDRESS), in order.
#pragma once

#include <deque>
#include <memory>
#include <string>

#include "base/guarded.h"
#include "shim_api/events.h"
#include "sys/event_loop.h"
#include "ttrpc/client.h"

namespace skiff::shim {

// Thread-safe; publishing never blocks. While the daemon is away events wait: it is tried again
// every second, and of more than 2048 the oldest go.
class Publisher : public std::enable_shared_from_this<Publisher> {
 public:
  // An empty address: nobody asks for events.
  Publisher(std::shared_ptr<sys::EventLoop> loop, std::string address, std::string name_space)
      : loop_(std::move(loop)), address_(std::move(address)), namespace_(std::move(name_space)) {}

  template <class Event>
  void publish(const Event& event) {
    if (!address_.empty()) queue(Event::kTopic, Event::kType, ttrpc::encode(event));
  }
  // Nothing waits to be sent.
  bool idle() { return state_.lock()->queue.empty(); }

 private:
  struct State {
    std::deque<std::string> queue;  // encoded ForwardRequests; the first may be under way
    bool sending = false;
    std::shared_ptr<ttrpc::Client> client;
  };
  void queue(const char* topic, const char* type, std::string event);
  void send_next();
  void on_answer(bool delivered);

  std::shared_ptr<sys::EventLoop> loop_;
  std::string address_, namespace_;
  Guarded<State> state_;
};

}  // namespace skiff::shim
