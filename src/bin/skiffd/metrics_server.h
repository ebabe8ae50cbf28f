// Prometheus's end: answers GET /metrics over HTTP/1.1, one request a connection.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "base/error.h"
#include "sys/fd.h"

namespace skiff::daemon {

class MetricsServer {
 public:
  // "host:port" with a numeric host ("127.0.0.1:9323", "[::1]:0"), or the absolute path of a unix
  // socket. InvalidArgument or the reason why it cannot listen there.
  static Result<std::unique_ptr<MetricsServer>> start(const std::string& address);
  ~MetricsServer();

  // Where it listens: the port that the kernel chose for port 0.
  const std::string& address() const { return address_; }

 private:
  MetricsServer(sys::UniqueFd listener, sys::UniqueFd stop, std::string address);
  void serve();

  sys::UniqueFd listener_;
  sys::UniqueFd stop_;  // an eventfd
  std::string address_;
  std::jthread thread_;
};

}  // namespace skiff::daemon
