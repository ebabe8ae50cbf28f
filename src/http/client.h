// The HTTP client: blocking calls over a few I/O threads that each run a libcurl multi handle.
//
// Connections are kept and used again; I/O threads start with the first request and end, closing
// their connections, once nothing has happened for `idle`: an idle daemon pays nothing.
// Redirects are followed here, not by libcurl: a bounded number, never in a loop, and whatever is
// sensitive (Authorization, marked headers, the client certificate) goes to the origin that the
// request named and to no other. Only statuses, never headers or queries, reach messages or logs.
//
// Thread-safe. Never call it from a sink's or a body's callback.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "base/context.h"
#include "http/message.h"
#include "http/proxy.h"

namespace skiff::http {

class Client {
 public:
  struct Options {
    int io_threads = 2;
    std::chrono::milliseconds idle{30'000};
    // What one receive may take: large values spare system calls on fast networks.
    long receive_bytes = 256 << 10;
    std::string user_agent = "skiff";
    // Directory of trusted certificates under their hashes. A directory, not a bundle: libcurl
    // would parse a bundle (0.5 MB) anew for each connection.
    std::string ca_directory = "/etc/ssl/certs";
    // Unset: the environment, read for each request.
    std::optional<ProxyRules> proxies;
  };

  explicit Client(Options options);
  Client() : Client(Options()) {}
  // No request may be running: stop their contexts first.
  ~Client();

  // Sends the request and waits for the whole response. Any status is a success here: only what
  // kept the exchange from completing is an error:
  //   Unavailable         connect, transport, a body shorter than its Content-Length
  //   DeadlineExceeded    the context's deadline or one of Request::timeouts
  //   FailedPrecondition  TLS (certificates, keys); redirects in a loop or too many
  //   InvalidArgument     a URL, a header
  //   Canceled            the context's stop token, at once
  // or what the sink or the body returned. A 2xx body goes to `sink`; without one, and for other
  // statuses, to Response::body.
  Result<Response> perform(const Context& context, const Request& request,
                           BodySink* sink = nullptr);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace skiff::http
