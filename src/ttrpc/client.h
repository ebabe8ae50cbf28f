// Calls over one ttrpc connection, many at a time.
//
// Thread-safe. A call carries its Context: namespace, lease and trace id as metadata, the deadline
// as timeout; when the Context is stopped or its deadline passes the call ends at once with
// Canceled or DeadlineExceeded and the server is told. When the connection ends, every call fails
// with Unavailable and closed() turns true; make a new client to go on.
//
// All clients share one thread (sys::shared_event_loop), so an idle client costs a descriptor and a
// few hundred bytes.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/guarded.h"
#include "sys/fd.h"
#include "ttrpc/message.h"

namespace skiff::sys {
class EventLoop;
}

namespace skiff::ttrpc {

class Connection;
struct Frame;

// The answer to a unary call: the encoded message and what descriptors came with it.
struct Reply {
  std::string payload;
  std::vector<sys::UniqueFd> fds;
};

class Client {
 public:
  // `path` of a unix socket, with or without "unix://".
  static Result<std::shared_ptr<Client>> connect(const std::string& path);
  // Over a connected, non-blocking socket, on the given loop or the shared one.
  static Result<std::shared_ptr<Client>> adopt(sys::UniqueFd socket,
                                               std::shared_ptr<sys::EventLoop> loop = nullptr);
  // Ends the connection and with it every call and stream. Callbacks may still run for a moment.
  ~Client();

  // A unary call with an encoded request; `fds` travel with it (to our own servers only).
  Result<Reply> call_raw(const Context& context, std::string_view service, std::string_view method,
                         std::string payload, std::vector<sys::UniqueFd> fds = {});

  template <class Response, class Request>
  Result<Response> call(const Context& context, std::string_view service, std::string_view method,
                        const Request& request, std::vector<sys::UniqueFd> fds = {}) {
    Reply reply = SKIFF_TRY(call_raw(context, service, method, encode(request), std::move(fds)));
    return decode<Response>(reply.payload);
  }

  // `done` runs once, on the loop's thread (it must not block), or on this one when the request
  // cannot be sent. The context's deadline goes to the server, which must keep it; its stop does
  // not count here: use the returned function to cancel.
  using Done = std::function<void(Result<Reply>)>;
  std::function<void()> call_async(const Context& context, std::string_view service,
                                   std::string_view method, std::string payload, Done done);

  struct Shared;  // what client, streams and callbacks have in common

  // A server stream. One reader at a time; it ends with its client.
  class Stream {
   public:
    ~Stream();  // cancels it unless it ended
    // The next message; empty at the end. Waits under the context given at its start.
    Result<std::optional<std::string>> next();

   private:
    friend class Client;
    struct State;
    Stream(std::shared_ptr<Shared> client, uint32_t id, Context context,
           std::shared_ptr<State> state);
    std::shared_ptr<Shared> client_;
    uint32_t id_;
    Context context_;
    std::shared_ptr<State> state_;
  };
  // What arrives unread is kept up to 16 MiB; beyond that the stream fails with ResourceExhausted.
  Result<std::unique_ptr<Stream>> stream(const Context& context, std::string_view service,
                                         std::string_view method, std::string payload,
                                         std::vector<sys::UniqueFd> fds = {});

  bool closed() const;

 private:
  // Takes each frame of one stream id; true when that was the last. An error ends it, too.
  using Receiver = std::function<bool(Result<Frame>)>;
  struct State {
    std::map<uint32_t, std::shared_ptr<Receiver>> receivers;
    uint32_t next_id = 1;
    std::optional<Error> closed;
  };

  explicit Client(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}
  Result<uint32_t> open(const Context& context, std::string_view service, std::string_view method,
                        std::string payload, std::vector<sys::UniqueFd> fds, uint8_t flags,
                        Receiver receiver);

  std::shared_ptr<Shared> shared_;
};

}  // namespace skiff::ttrpc
