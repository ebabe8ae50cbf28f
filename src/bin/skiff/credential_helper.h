// Docker's credential helpers: programs named docker-credential-<name> that keep a user's secrets
// in a key ring. They run as that user, here in the CLI; the daemon never starts one.
// Protocol: a verb as argument, the server's URL or a JSON document on stdin, JSON on stdout.
// Fact source: the documentation of docker/docker-credential-helpers.
#pragma once

#include <optional>
#include <string>

#include "base/context.h"
#include "serve/native/api.h"

namespace skiff::cli {

class CredentialHelper {
 public:
  // `name` as in config.json: "pass" runs docker-credential-pass from $PATH.
  explicit CredentialHelper(std::string name) : program_("docker-credential-" + std::move(name)) {}

  // Empty when the helper has none for that server. `host` is left to the caller to fill in.
  Result<std::optional<native::Credential>> get(const Context& context,
                                                const std::string& server) const;
  Status store(const Context& context, const std::string& server,
               const native::Credential& credential) const;
  // Nothing to erase is no error.
  Status erase(const Context& context, const std::string& server) const;

 private:
  struct Answer {
    int status = 0;
    std::string out, err;
  };
  Result<Answer> run(const Context& context, const std::string& verb, std::string_view input) const;

  std::string program_;
};

}  // namespace skiff::cli
