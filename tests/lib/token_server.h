// A token server for docker-registry ("Docker Registry v2 authentication"): JWTs signed with RS256,
// the signer's certificate in the header (x5c).
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "tests/lib/docker_registry.h"
#include "tests/lib/http_server.h"
#include "tests/lib/test_tls.h"

namespace skiff::testing {

class TokenServer {
 public:
  // The CA must have RSA keys. Anonymous callers may pull; the user may do everything.
  TokenServer(const TestCa& ca, std::string user, std::string password);
  ~TokenServer();

  // For a registry that is to trust this server.
  DockerRegistry::Options registry_options() const;
  int tokens_given() const { return given_; }

 private:
  void answer(Exchange& exchange);
  std::string sign(const std::string& claims) const;

  const std::string user_, password_, ca_file_;
  CertFiles signer_;
  std::atomic<int> given_ = 0;
  std::unique_ptr<HttpServer> server_;
};

}  // namespace skiff::testing
