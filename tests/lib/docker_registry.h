// Debian's docker-registry as a child of the test, on an ephemeral port of 127.0.0.1, with its data
// in a folder of its own; it goes with the object, or with the test's process.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "tests/lib/http_server.h"

namespace skiff::testing {

class DockerRegistry {
 public:
  struct Options {
    ServerTls tls = {};
    // Basic authentication when not empty: user -> password.
    std::map<std::string, std::string> users = {};
    // Bearer authentication when not empty: see token_server.h.
    std::string token_realm = {};
    std::string token_service = {};
    std::string token_issuer = {};
    std::string token_certs = {};  // file of certificates that may sign
  };

  // Empty when the program is not installed: skip the test, and say so.
  static std::string program();

  // Waits until it listens; throws std::runtime_error with its log when it does not.
  explicit DockerRegistry(const Options& options);
  ~DockerRegistry();

  std::string host() const;  // "127.0.0.1:41234"
  std::string url() const;
  // All that it has logged: a line a request, with sizes.
  std::string log() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace skiff::testing
