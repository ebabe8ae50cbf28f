// Requests to one repository over its hosts, with one user's credentials. Internal to registry/.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "http/client.h"
#include "registry/distribution.h"
#include "registry/hosts.h"
#include "registry/retry.h"
#include "registry/token.h"

namespace skiff::registry {

// What all sessions of a resolver share.
struct Shared {
  Shared(http::Client& c, DistributionOptions o)
      : client(c), options(std::move(o)), tokens(c, options.timeouts) {}
  http::Client& client;
  const DistributionOptions options;
  TokenCache tokens;
};

// How one try at one host ended.
struct Attempt {
  enum class Next {
    kDone,      // success
    kTryLater,  // the host may do better in a moment
    kNextHost,  // this host will not do
    kGiveUp,    // no host will: the caller's own error, a cancelled context
  };
  Next next = Next::kDone;
  Status status;
  std::optional<RetryPolicy::Duration> retry_after;
  // Something was gained: the count of attempts starts anew.
  bool progress = false;

  static Attempt done() { return {}; }
  static Attempt give_up(Error error);
  static Attempt next_host(Error error);
  static Attempt try_later(Error error);
};

// Thread-safe.
class Session {
 public:
  Session(std::shared_ptr<Shared> shared, oci::Reference reference, Access access,
          std::vector<Host> hosts, Scopes scopes);

  const oci::Reference& reference() const { return reference_; }
  const std::vector<Host>& hosts() const { return hosts_; }
  const DistributionOptions& options() const { return shared_->options; }
  // Another session over the same hosts that asks for more.
  Session with_scopes(const Scopes& more) const;

  // "<base>/<repository>/<rest>", with ?ns= where the host wants it.
  std::string url(const Host& host, std::string_view rest) const;
  // A request with the host's headers, TLS settings and time-outs.
  http::Request request(const Host& host, std::string method, std::string url) const;
  // Sends it with authorization (to the host's own origin only, which an upload's Location may not
  // be); a 401 is answered once with a fresh token or the credentials. Any other status is the
  // caller's to judge.
  Result<http::Response> send(const Context& context, const Host& host, http::Request request,
                              http::BodySink* sink = nullptr) const;

  using Try = std::function<Attempt(const Host&)>;
  using HostList = std::vector<const Host*>;
  HostList hosts_that(bool Host::* can) const;
  // Tries the hosts in order, in rounds: a host that failed for now is tried again in the next
  // round, after a wait; one that will not do is left out. The error has the last host's code and
  // every host's reason.
  Status over_hosts(const Context& context, const HostList& hosts, const Try& attempt) const;

  // Sends it as it is.
  Result<http::Response> send_anonymous(const Context& context, const http::Request& request,
                                        http::BodySink* sink) const {
    return shared_->client.perform(context, request, sink);
  }
  // Sorts a failed exchange: by error code, or by status where there was a response.
  Attempt judge(const Context& context, const Result<http::Response>& result) const;

 private:
  Result<std::optional<Credentials>> credentials(const Host& host) const;

  std::shared_ptr<Shared> shared_;
  oci::Reference reference_;
  Access access_;
  std::vector<Host> hosts_;
  Scopes scopes_;
};

// The error for a status that is no success, with the registry's own words (bounded, cleaned).
Error status_error(const http::Response& response);

}  // namespace skiff::registry
