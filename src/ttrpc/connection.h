// One ttrpc connection on an event loop: frames in by callback, frames out through a queue, so that
// neither side's slowness blocks the loop. Client and server are built on it.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>

#include "base/context.h"
#include "base/guarded.h"
#include "sys/event_loop.h"
#include "ttrpc/frame.h"

namespace skiff::ttrpc {

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  // Both run on the loop's thread. on_closed runs once, last, and says why.
  struct Events {
    std::function<void(Frame)> on_frame;
    std::function<void(const Error&)> on_closed;
  };
  // Owns `socket` (non-blocking). The loop keeps the connection alive until it closes.
  static Result<std::shared_ptr<Connection>> start(std::shared_ptr<sys::EventLoop> loop,
                                                   sys::UniqueFd socket, Events events);

  // Queues a frame and sends what the socket takes; never blocks. Thread-safe. Unavailable after
  // the close, ResourceExhausted for data over kMaxData.
  Status send(const FrameHeader& header, std::string_view data,
              std::vector<sys::UniqueFd> fds = {});
  // Waits until little enough is queued to send more.
  Status wait_for_room(const Context& context);
  // Ends the connection: nothing more is sent, on_closed follows on the loop's thread.
  void close();
  // Sends what is queued, then closes. Bounded only by the peer: close() still works meanwhile.
  void close_when_sent();

 private:
  struct Pending {
    std::string bytes;
    size_t sent = 0;
    std::vector<sys::UniqueFd> fds;
  };
  struct Outgoing {
    std::deque<Pending> queue;
    size_t bytes = 0;
    bool watching = false;  // EPOLLOUT is asked for
    bool finishing = false;
    bool closed = false;
    sys::EventLoop::Token token = 0;
  };

  Connection(std::shared_ptr<sys::EventLoop> loop, sys::UniqueFd socket, Events events)
      : loop_(std::move(loop)), socket_(std::move(socket)), events_(std::move(events)) {}
  void on_ready(uint32_t events);
  Status read_frames();
  Result<bool> read_some();  // false: nothing is there now
  void finish_frame();
  Status flush(Outgoing& out);
  void finish(const Error& reason);

  std::shared_ptr<sys::EventLoop> loop_;
  sys::UniqueFd socket_;
  Events events_;
  Guarded<Outgoing> out_;
  std::condition_variable_any room_;

  // The frame being read; touched only on the loop's thread.
  char header_[kHeaderSize];
  size_t header_got_ = 0;
  uint32_t length_ = 0;
  size_t data_got_ = 0;
  Frame frame_;
};

}  // namespace skiff::ttrpc
