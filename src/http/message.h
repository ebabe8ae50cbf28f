// What goes to an HTTP server and what comes back.
#pragma once

#include <chrono>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/stream.h"

namespace skiff::http {

struct Header {
  std::string name;
  std::string value;
  // Only for the origin that the request names: left out after a redirect to another.
  bool sensitive = false;
};

// Header fields in order; names compare without case.
class Headers {
 public:
  Headers() = default;
  Headers(std::initializer_list<Header> headers) : all_(headers) {}

  void add(Header header) { all_.push_back(std::move(header)); }
  // Replaces every field of that name.
  void set(Header header);
  void remove(std::string_view name);
  // Authorization, Cookie and what is marked sensitive.
  void remove_sensitive();
  // The first field's value; empty when there is none.
  std::string_view get(std::string_view name) const;
  bool has(std::string_view name) const;
  // A whole number, as Content-Length and Retry-After hold one; nothing when it is not.
  std::optional<uint64_t> number(std::string_view name) const;

  auto begin() const { return all_.begin(); }
  auto end() const { return all_.end(); }
  size_t size() const { return all_.size(); }
  void clear() { all_.clear(); }

 private:
  std::vector<Header> all_;
};

bool same_name(std::string_view a, std::string_view b);

// A body to send. `open` is called on an I/O thread, once for each redirect that keeps the body;
// reads must not block for long. A request whose body has begun to flow is never sent again on its
// own: it fails with Unavailable.
struct Body {
  std::function<Result<std::unique_ptr<ByteSource>>()> open;
  // Exactly; a source with fewer or more bytes fails the request.
  uint64_t size = 0;

  // `text` is kept by the body.
  static Body of(std::string text);
};

struct Tls {
  // Certificates (PEM) trusted beside the system's; kept alive by the request.
  std::string ca_pem;
  // Files (PEM). The certificate is never shown to another origin after a redirect. An empty key
  // file means that the certificate's file holds the key too.
  std::string client_cert, client_key;
  bool skip_verify = false;
};

struct Timeouts {
  using Duration = std::chrono::milliseconds;
  // Name look-up, TCP, proxy and TLS together.
  Duration connect{30'000};
  // From the last byte of the request to the first of the response's headers.
  Duration response{60'000};
  // While a body or headers flow: at least `stall_bytes` in every `stall_window`.
  Duration stall_window{30'000};
  uint64_t stall_bytes = 4096;
};

struct Request {
  std::string method = "GET";
  std::string url;
  Headers headers;
  std::optional<Body> body;
  Tls tls;
  Timeouts timeouts;
  // Bulk bodies: libcurl buffers a slow HTTP/2 stream up to its window, and one connection for all
  // is no gain for them. Otherwise the server chooses (HTTP/2 only over TLS).
  bool http11_only = false;
  int max_redirects = 10;
  // Largest body kept in Response::body when there is no sink.
  size_t max_body = 4 << 20;
};

struct Response {
  int status = 0;
  Headers headers;
  // Without a sink the body; with one, the start (64 KiB at most) of an error's body.
  std::string body;
  // Where the response came from, after redirects.
  std::string url;

  bool success() const { return status >= 200 && status < 300; }
};

// Receives the body of a successful (2xx) response, on an I/O thread: a slow sink delays the other
// transfers of that thread, and the sink must not call the client. An error aborts the transfer
// and is what perform returns.
class BodySink : public ByteSink {
 public:
  // Status and headers, once, before the body's first byte (also when there is none).
  virtual Status begin(const Response& head) {
    (void)head;
    return ok();
  }
};

}  // namespace skiff::http
