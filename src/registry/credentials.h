// Credentials of one registry host, and where they come from. They live in memory for as long as
// the request that brought them, and never reach logs, errors, labels or another host.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/error.h"

namespace skiff::registry {

struct Credentials {
  std::string username;
  std::string password;
  // OAuth2 refresh token ("identitytoken" in Docker's config.json); used instead of a password.
  std::string identity_token;
  // A bearer token to be sent as it is ("registrytoken").
  std::string registry_token;

  bool empty() const {
    return username.empty() && identity_token.empty() && registry_token.empty();
  }
  friend bool operator==(const Credentials&, const Credentials&) = default;
};

// Thread-safe. Asked with a registry host as it stands in references ("docker.io",
// "localhost:5000"); a mirror is asked under its own host name.
class CredentialSource {
 public:
  virtual ~CredentialSource() = default;
  virtual Result<std::optional<Credentials>> get(const std::string& host) = 0;
};
using CredentialSourcePtr = std::shared_ptr<CredentialSource>;

// The same credentials for one host and nothing for any other; an empty host means every host.
CredentialSourcePtr fixed_credentials(std::string host, Credentials credentials);

}  // namespace skiff::registry
