// A ttrpc server: tables of methods behind unix sockets, for daemon and shim alike.
//
//   ttrpc::Server server(loop, {});
//   ttrpc::Service task("containerd.task.v2.Task");
//   task.unary<StateRequest>("State", [&](const Context& context, StateRequest request)
//                                         -> Result<StateResponse> {...});
//   SKIFF_TRY(server.add(std::move(task)));
//   SKIFF_TRY(server.serve(std::move(listener)));
//
// Frames are read and written on the event loop; unary and stream handlers run on a bounded pool of
// small threads that exist only while there is work; deferred handlers run on the loop itself and
// answer whenever they like, so a thousand pending Waits cost no thread. A handler's Context has
// the caller's namespace, lease, trace id, deadline and peer credentials; its stop is requested
// when the caller cancels or its connection drops.
//
// Answers: an unknown service or method is Unimplemented (12); a message over 4 MiB either way is
// ResourceExhausted, as are too many calls at once on a connection.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "base/context.h"
#include "base/guarded.h"
#include "sys/fd.h"
#include "sys/thread.h"
#include "ttrpc/message.h"

namespace skiff::sys {
class EventLoop;
}

namespace skiff::ttrpc {

// One call that a handler serves. Thread-safe but for take_fds and on_stop.
class Call {
 public:
  virtual ~Call() = default;
  virtual const Context& context() const = 0;
  virtual const std::string& payload() const = 0;
  // The descriptors that came with the request; once.
  virtual std::vector<sys::UniqueFd> take_fds() = 0;
  // Runs `then` once when the caller cancels or its connection drops; at once if that was before.
  // Of several only the last counts.
  virtual void on_stop(std::function<void()> then) = 0;
  // One message of a stream; waits while the client is slow. Fails when the call has ended.
  virtual Status send(std::string_view message) = 0;
  // The answer; the first one counts. A call that is dropped without one answers Internal.
  virtual void reply(Result<std::string> payload, std::vector<sys::UniqueFd> fds = {}) = 0;

  template <class M>
  void reply_message(const Result<M>& message) {
    if (message) {
      reply(encode(*message));
    } else {
      reply(std::unexpected(message.error()));
    }
  }
};

// A service's table of methods. Handlers must be callable from several threads at once.
class Service {
 public:
  using Deferred = std::function<void(std::shared_ptr<Call>)>;
  explicit Service(std::string name) : name_(std::move(name)) {}

  // On a pool thread: Result<Response>(const Context&, Request).
  template <class Request, class Handler>
  void unary(std::string method, Handler handler) {
    raw(std::move(method), [handler = std::move(handler)](Call& call) -> Result<std::string> {
      return encode(SKIFF_TRY(handler(call.context(), SKIFF_TRY(decode<Request>(call.payload())))));
    });
  }
  // On a pool thread: the encoded answer; it may reply itself, with descriptors.
  void raw(std::string method, std::function<Result<std::string>(Call&)> handler);
  // On a pool thread: messages through call.send, then the stream's final status.
  void stream(std::string method, std::function<Status(Call&)> handler);
  // On the loop's thread; must not block; replies then or later.
  void deferred(std::string method, Deferred handler);

 private:
  friend class Server;
  struct Method {
    Deferred run;
    bool inline_on_loop = false;
  };
  std::string name_;
  std::map<std::string, Method, std::less<>> methods_;
};

class Server {
 public:
  struct Options {
    sys::WorkerPool::Options workers;
    size_t max_connections = 4096;
    size_t max_calls_per_connection = 1024;
    // Asked on the loop's thread when a connection comes; an error closes it and is logged.
    std::function<Status(const Peer&)> admit;
    // Told on the loop's thread when the last connection has closed.
    std::function<void()> on_idle;
  };
  Server(std::shared_ptr<sys::EventLoop> loop, Options options);
  // Shuts down at once, then waits until no handler runs on the pool any more. Not from a handler.
  ~Server();

  // Before serve; a service of the same name is replaced.
  void add(Service service);
  // Begins to accept on a non-blocking listening socket, which it owns; several may be served.
  Status serve(sys::UniqueFd listener);
  // Serves a connected, non-blocking socket (a socket pair, an inherited one).
  Status adopt(sys::UniqueFd socket);
  // Calls served now.
  size_t active_calls() const;
  size_t connections() const;
  // Accepts no more, refuses new calls with Unavailable, waits for the active ones (deferred ones,
  // too) as long as the context allows, then stops what is left and closes every connection.
  void shutdown(const Context& context);

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

}  // namespace skiff::ttrpc
