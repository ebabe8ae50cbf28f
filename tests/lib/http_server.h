// A small HTTP/1.1 server for tests, on an ephemeral port of 127.0.0.1, one thread a connection.
// The handler answers as it likes, down to single bytes and resets: what a good server never does
// is its purpose.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace skiff::testing {

using HeaderList = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;
  std::string target;  // as sent: "/v2/x?ns=y", or absolute when the client took us for a proxy
  std::string path;    // without the query, percent-decoded
  std::map<std::string, std::string> query;    // percent-decoded
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
  int connection = 0;        // which connection it came over, from 1
  bool client_cert = false;  // TLS: the client showed a certificate

  std::string header(const std::string& lower_name) const;
};

// One request and the means to answer it.
class Exchange {
 public:
  virtual ~Exchange() = default;
  const HttpRequest request;

  // A whole response with the right Content-Length (no body after HEAD).
  void respond(int status, HeaderList headers = {}, std::string_view body = {});
  // Just the status line and the headers.
  void send_head(int status, const HeaderList& headers);

  virtual void send_raw(std::string_view bytes) = 0;
  // Ends the connection with RST, or with FIN.
  virtual void reset() = 0;
  virtual void close() = 0;
  // Sends nothing more until the client goes away or the server stops.
  virtual void hang() = 0;
  // Waits; false when the client has gone or the server stops.
  virtual bool pause(std::chrono::milliseconds time) = 0;

 protected:
  explicit Exchange(HttpRequest r) : request(std::move(r)) {}
};

// Files (PEM) of the server's side of TLS; see test_tls.h.
struct ServerTls {
  std::string cert_file, key_file;
  std::string client_ca_file;  // set: a client certificate from this CA is demanded
};

class HttpServer {
 public:
  using Handler = std::function<void(Exchange&)>;

  // Runs at once; throws std::runtime_error when it cannot listen. The handler is called from many
  // threads.
  explicit HttpServer(Handler handler, ServerTls tls = {});
  ~HttpServer();

  int port() const;
  // "127.0.0.1:41234"
  std::string host() const;
  // "http://127.0.0.1:41234" or https
  std::string url() const;
  // How many connections were accepted so far.
  int connections() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

std::string percent_decode(std::string_view text);

}  // namespace skiff::testing
