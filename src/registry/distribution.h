// The OCI distribution specification 1.1 over HTTP, behind the seams of registry.h.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "http/client.h"
#include "registry/registry.h"
#include "registry/retry.h"

namespace skiff::registry {

struct DistributionOptions {
  // Searched in order for a registry's hosts.toml or certificates; see hosts.h.
  std::vector<std::string> hosts_directories;
  http::Timeouts timeouts;
  // How long a registry may take to accept a whole uploaded blob (it hashes it first).
  std::chrono::milliseconds commit_timeout{10 * 60'000};
  RetryPolicy retry;
};

// `client` must outlive the resolver and all that comes from it.
std::unique_ptr<Resolver> make_distribution_resolver(http::Client& client,
                                                     DistributionOptions options);

}  // namespace skiff::registry
