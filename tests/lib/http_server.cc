#include "tests/lib/http_server.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <list>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <utility>

#include <fmt/format.h>

namespace skiff::testing {

std::string HttpRequest::header(const std::string& lower_name) const {
  auto found = headers.find(lower_name);
  return found == headers.end() ? "" : found->second;
}

void Exchange::send_head(int status, const HeaderList& headers) {
  std::string head = fmt::format("HTTP/1.1 {} Test\r\n", status);
  for (auto& [name, value] : headers) head += fmt::format("{}: {}\r\n", name, value);
  send_raw(head + "\r\n");
}

void Exchange::respond(int status, HeaderList headers, std::string_view body) {
  headers.emplace_back("Content-Length", fmt::format("{}", body.size()));
  send_head(status, headers);
  if (request.method != "HEAD") send_raw(body);
}

std::string percent_decode(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      out += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

namespace {

// A connected socket, with TLS or without.
class Connection {
 public:
  Connection(int fd, int stop_fd, int number) : fd_(fd), stop_fd_(stop_fd), number_(number) {}
  ~Connection() {
    if (ssl_) SSL_free(ssl_);
    if (fd_ >= 0) ::close(fd_);
  }

  bool accept_tls(SSL_CTX* context) {
    ssl_ = SSL_new(context);
    SSL_set_fd(ssl_, fd_);
    return SSL_accept(ssl_) == 1;
  }
  bool has_client_cert() const { return ssl_ && SSL_get0_peer_certificate(ssl_); }
  int number() const { return number_; }
  bool open() const { return fd_ >= 0; }

  long read(char* buffer, size_t size) {
    if (ssl_) return SSL_read(ssl_, buffer, static_cast<int>(size));
    return ::recv(fd_, buffer, size, 0);
  }
  void write(std::string_view bytes) {
    while (open() && !bytes.empty()) {
      long n = ssl_ ? SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size()))
                    : ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return close();
      bytes.remove_prefix(n);
    }
  }
  void close() {
    if (!open()) return;
    if (ssl_) SSL_shutdown(ssl_);
    ::close(std::exchange(fd_, -1));
  }
  void reset() {
    if (!open()) return;
    linger hard{1, 0};
    setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    ::close(std::exchange(fd_, -1));
  }
  // Until `timeout` (-1: for ever); false when the peer has gone or the server stops.
  bool idle(int timeout) {
    if (!open()) return false;
    pollfd fds[2] = {{fd_, POLLRDHUP, 0}, {stop_fd_, POLLIN, 0}};
    return ::poll(fds, 2, timeout) == 0;
  }
  // Waits for something to read; false as above.
  bool readable() {
    if (ssl_ && SSL_pending(ssl_) > 0) return true;
    pollfd fds[2] = {{fd_, POLLIN, 0}, {stop_fd_, POLLIN, 0}};
    return open() && ::poll(fds, 2, -1) > 0 && !fds[1].revents;
  }

 private:
  int fd_;
  int stop_fd_;
  int number_;
  SSL* ssl_ = nullptr;
};

class SocketExchange : public Exchange {
 public:
  SocketExchange(HttpRequest request, Connection& connection)
      : Exchange(std::move(request)), connection_(connection) {}
  void send_raw(std::string_view bytes) override { connection_.write(bytes); }
  void reset() override { connection_.reset(); }
  void close() override { connection_.close(); }
  void hang() override {
    connection_.idle(-1);
    connection_.close();
  }
  bool pause(std::chrono::milliseconds time) override {
    return connection_.idle(static_cast<int>(time.count()));
  }

 private:
  Connection& connection_;
};

void parse_target(HttpRequest& request) {
  std::string_view target = request.target;
  if (size_t scheme = target.find("://"); scheme != target.npos && target[0] != '/') {
    size_t slash = target.find('/', scheme + 3);
    target = slash == target.npos ? "/" : target.substr(slash);
  }
  size_t mark = target.find('?');
  request.path = percent_decode(target.substr(0, mark));
  if (mark == target.npos) return;
  std::string_view rest = target.substr(mark + 1);
  while (!rest.empty()) {
    std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
    size_t equals = pair.find('=');
    std::string value = equals == pair.npos ? "" : percent_decode(pair.substr(equals + 1));
    std::string& slot = request.query[percent_decode(pair.substr(0, equals))];
    slot += slot.empty() ? value : " " + value;  // repeated keys joined, as scopes are
  }
}

bool parse_head(std::string_view head, HttpRequest& request) {
  size_t line = head.find("\r\n");
  std::string_view first = head.substr(0, line);
  size_t a = first.find(' '), b = first.rfind(' ');
  if (a == first.npos || a == b) return false;
  request.method = first.substr(0, a);
  request.target = first.substr(a + 1, b - a - 1);
  parse_target(request);
  while (line != head.npos && line + 2 < head.size()) {
    size_t next = head.find("\r\n", line + 2);
    std::string_view field = head.substr(line + 2, next - line - 2);
    size_t colon = field.find(':');
    if (colon != field.npos) {
      std::string name(field.substr(0, colon));
      for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      size_t start = field.find_first_not_of(' ', colon + 1);
      request.headers[name] = start == field.npos ? "" : std::string(field.substr(start));
    }
    line = next;
  }
  return true;
}

// Reads one request; `rest` keeps what came after it.
bool read_request(Connection& connection, std::string& rest, HttpRequest& request) {
  char buffer[65536];
  auto more = [&] {
    if (!connection.readable()) return false;
    long n = connection.read(buffer, sizeof buffer);
    if (n > 0) rest.append(buffer, n);
    return n > 0;
  };
  size_t end;
  while ((end = rest.find("\r\n\r\n")) == rest.npos)
    if (!more()) return false;
  if (!parse_head(std::string_view(rest).substr(0, end), request)) return false;
  rest.erase(0, end + 4);
  std::string length = request.header("content-length");
  size_t want = length.empty() ? 0 : std::stoull(length);
  while (rest.size() < want)
    if (!more()) return false;
  request.body = rest.substr(0, want);
  rest.erase(0, want);
  request.connection = connection.number();
  request.client_cert = connection.has_client_cert();
  return true;
}

SSL_CTX* make_context(const ServerTls& tls) {
  if (tls.cert_file.empty()) return nullptr;
  SSL_CTX* context = SSL_CTX_new(TLS_server_method());
  bool good = SSL_CTX_use_certificate_chain_file(context, tls.cert_file.c_str()) == 1 &&
              SSL_CTX_use_PrivateKey_file(context, tls.key_file.c_str(), SSL_FILETYPE_PEM) == 1;
  if (!tls.client_ca_file.empty()) {
    good = good && SSL_CTX_load_verify_file(context, tls.client_ca_file.c_str()) == 1;
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  if (!good) throw std::runtime_error("test server: cannot use " + tls.cert_file);
  return context;
}

}  // namespace

struct HttpServer::Impl {
  void accept_all();
  void serve(Connection& connection);

  Handler handler;
  SSL_CTX* tls = nullptr;
  int listener = -1;
  int stop_fd = -1;
  int port = 0;
  std::atomic<int> accepted = 0;
  std::list<std::jthread> workers;  // the accepting thread's own
  std::jthread acceptor;
};

HttpServer::HttpServer(Handler handler, ServerTls tls) : impl_(new Impl) {
  signal(SIGPIPE, SIG_IGN);  // OpenSSL writes without MSG_NOSIGNAL
  impl_->handler = std::move(handler);
  impl_->tls = make_context(tls);
  impl_->stop_fd = eventfd(0, EFD_CLOEXEC);
  impl_->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof address;
  auto* raw = reinterpret_cast<sockaddr*>(&address);
  if (bind(impl_->listener, raw, size) || listen(impl_->listener, 128) ||
      getsockname(impl_->listener, raw, &size))
    throw std::runtime_error("test server: cannot listen on 127.0.0.1");
  impl_->port = ntohs(address.sin_port);
  impl_->acceptor = std::jthread([this] { impl_->accept_all(); });
}

HttpServer::~HttpServer() {
  eventfd_write(impl_->stop_fd, 1);
  impl_->acceptor.join();
  impl_->workers.clear();
  close(impl_->listener);
  close(impl_->stop_fd);
  SSL_CTX_free(impl_->tls);
}

int HttpServer::port() const { return impl_->port; }
std::string HttpServer::host() const { return fmt::format("127.0.0.1:{}", impl_->port); }
std::string HttpServer::url() const { return (impl_->tls ? "https://" : "http://") + host(); }
int HttpServer::connections() const { return impl_->accepted; }

void HttpServer::Impl::accept_all() {
  for (;;) {
    pollfd fds[2] = {{listener, POLLIN, 0}, {stop_fd, POLLIN, 0}};
    poll(fds, 2, -1);
    if (fds[1].revents) return;
    int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    // A client that never reads or never speaks TLS must not keep the server from stopping.
    timeval limit{20, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    int number = ++accepted;
    workers.emplace_back([this, fd, number] {
      Connection connection(fd, stop_fd, number);
      if (!tls || connection.accept_tls(tls)) serve(connection);
    });
  }
}

void HttpServer::Impl::serve(Connection& connection) {
  std::string rest;
  while (connection.open()) {
    HttpRequest request;
    if (!read_request(connection, rest, request)) return;
    SocketExchange exchange(std::move(request), connection);
    handler(exchange);
  }
}

}  // namespace skiff::testing
