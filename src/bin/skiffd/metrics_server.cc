#include "bin/skiffd/metrics_server.h"

#include <cerrno>
#include <cstring>

#include <netdb.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "base/log.h"
#include "base/metrics/metrics.h"
#include "sys/file.h"
#include "sys/socket.h"

namespace skiff::daemon {
namespace {

constexpr size_t kMaxRequest = 8 << 10;
constexpr timeval kPatience{.tv_sec = 2};

struct Listener {
  sys::UniqueFd socket;
  std::string address;
};

Result<Listener> listen_tcp(const std::string& address) {
  size_t colon = address.rfind(':');
  if (colon == std::string::npos)
    return fail(Code::kInvalidArgument, "metrics.address: \"{}\" is neither host:port nor a path",
                address);
  std::string host = address.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  addrinfo hints{.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                 .ai_socktype = SOCK_STREAM};
  addrinfo* found = nullptr;
  if (int error = getaddrinfo(host.c_str(), address.c_str() + colon + 1, &hints, &found);
      error != 0)
    return fail(Code::kInvalidArgument, "metrics.address: \"{}\": {}", address,
                gai_strerror(error));
  std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, freeaddrinfo);
  sys::UniqueFd socket(::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  int on = 1;
  if (!socket || setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      bind(socket.get(), found->ai_addr, found->ai_addrlen) != 0 || listen(socket.get(), 16) != 0)
    return fail_errno(errno, "metrics.address: listen on {}", address);
  sockaddr_storage bound{};
  socklen_t length = sizeof bound;
  char port[8] = "";
  getsockname(socket.get(), reinterpret_cast<sockaddr*>(&bound), &length);
  getnameinfo(reinterpret_cast<sockaddr*>(&bound), length, nullptr, 0, port, sizeof port,
              NI_NUMERICSERV);
  return Listener{std::move(socket), address.substr(0, colon + 1) + port};
}

Result<Listener> listen_on(const std::string& address) {
  if (!address.starts_with('/')) return listen_tcp(address);
  return Listener{SKIFF_TRY(sys::listen_unix(address, 0660)), address};
}

// The request's head, or nothing when it does not come in time.
std::string read_head(int client) {
  std::string head;
  char buffer[1024];
  while (head.find("\r\n\r\n") == std::string::npos && head.size() < kMaxRequest) {
    ssize_t got = recv(client, buffer, sizeof buffer, 0);
    if (got <= 0) return {};
    head.append(buffer, static_cast<size_t>(got));
  }
  return head;
}

std::string answer(const std::string& head) {
  std::string status = "200 OK", body, type = "text/plain; version=0.0.4; charset=utf-8";
  if (head.starts_with("GET /metrics ") || head.starts_with("GET /metrics?")) {
    body = metrics::serialize();
  } else if (head.starts_with("GET ")) {
    status = "404 Not Found";
    body = "Metrics are at /metrics.\n";
  } else {
    status = "405 Method Not Allowed";
    body = "GET only.\n";
  }
  return fmt::format(
      "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}",
      status, type, body.size(), body);
}

void talk_to(int client) {
  setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience);
  std::string head = read_head(client);
  if (head.empty()) return;
  std::string reply = answer(head);
  for (size_t sent = 0; sent < reply.size();) {
    ssize_t count = send(client, reply.data() + sent, reply.size() - sent, MSG_NOSIGNAL);
    if (count <= 0) return;
    sent += static_cast<size_t>(count);
  }
  shutdown(client, SHUT_WR);
}

}  // namespace

Result<std::unique_ptr<MetricsServer>> MetricsServer::start(const std::string& address) {
  Listener listener = SKIFF_TRY(listen_on(address));
  sys::UniqueFd stop(eventfd(0, EFD_CLOEXEC));
  if (!stop) return fail_errno(errno, "eventfd");
  return std::unique_ptr<MetricsServer>(
      new MetricsServer(std::move(listener.socket), std::move(stop), std::move(listener.address)));
}

MetricsServer::MetricsServer(sys::UniqueFd listener, sys::UniqueFd stop, std::string address)
    : listener_(std::move(listener)),
      stop_(std::move(stop)),
      address_(std::move(address)),
      thread_([this] { serve(); }) {}

MetricsServer::~MetricsServer() { eventfd_write(stop_.get(), 1); }

void MetricsServer::serve() {
  pthread_setname_np(pthread_self(), "skiff-metrics");
  while (true) {
    pollfd ready[] = {{listener_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    if (poll(ready, 2, -1) < 0 && errno != EINTR) return;
    if (ready[1].revents != 0) return;
    if (ready[0].revents == 0) continue;
    sys::UniqueFd client(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (client) talk_to(client.get());
  }
}

}  // namespace skiff::daemon
