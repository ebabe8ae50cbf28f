// Authorization for one registry host: basic, or bearer tokens from the server that a challenge
// names (distribution specification, "Token Authentication" and "OAuth2 Token Authentication").
//
// Tokens are kept in memory until they expire, by host, scopes and credentials; callers that need
// the same token at once share one request for it.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/context.h"
#include "base/guarded.h"
#include "http/client.h"
#include "registry/challenge.h"
#include "registry/credentials.h"
#include "registry/hosts.h"

namespace skiff::registry {

// Thread-safe.
class TokenCache {
 public:
  using Clock = std::chrono::steady_clock;

  explicit TokenCache(http::Client& client, http::Timeouts timeouts = {})
      : client_(client), timeouts_(timeouts) {}

  // What a request needs. `header` is the value for Authorization, empty for none.
  struct Authorization {
    std::string header;
    // Changes with each new token: says which one a host refused.
    uint64_t generation = 0;
  };

  // What is known so far, without asking anybody: the kept token, or nothing.
  Authorization current(const Host& host, const Scopes& scopes,
                        const std::optional<Credentials>& credentials);
  // After a 401 with `refused`: what its challenges ask for, fetched unless another caller has done
  // so since. Unauthenticated when nothing that we have answers them (`credentials` are wrong or
  // missing), or when the token server refuses.
  Result<Authorization> renew(const Context& context, const Host& host, const Scopes& scopes,
                              const std::optional<Credentials>& credentials,
                              const std::vector<Challenge>& challenges,
                              const Authorization& refused);

 private:
  struct Slot {
    std::string header;
    uint64_t generation = 0;
    Clock::time_point expires;
    bool fetching = false;
    std::optional<Error> last_error;  // of the fetch that ended last
  };
  struct Entry {
    Guarded<Slot> slot;
    std::condition_variable_any changed;
  };
  struct Token {
    std::string text;
    std::chrono::seconds lifetime;
  };

  std::shared_ptr<Entry> entry(const Host& host, const Scopes& scopes,
                               const std::optional<Credentials>& credentials);
  Result<Slot> obtain(const Context& context, const Host& host, const Scopes& scopes,
                      const std::optional<Credentials>& credentials,
                      const std::vector<Challenge>& challenges);
  Result<Token> fetch(const Context& context, const Host& host, const Scopes& scopes,
                      const std::optional<Credentials>& credentials, const Challenge& challenge);
  Result<http::Response> ask_get(const Context& context, http::Request request,
                                 const Scopes& scopes, const std::string& service,
                                 const std::optional<Credentials>& credentials);
  Result<http::Response> ask_post(const Context& context, http::Request request,
                                  const Scopes& scopes, const std::string& service,
                                  const Credentials& credentials);

  http::Client& client_;
  const http::Timeouts timeouts_;
  Guarded<std::map<std::string, std::shared_ptr<Entry>>> entries_;
};

// "Basic ..." (RFC 7617).
std::string basic_authorization(const std::string& username, const std::string& password);

}  // namespace skiff::registry
