// Whether credentials are good for a registry, without naming a repository.
#pragma once

#include "registry/distribution.h"

namespace skiff::registry {

// Asks the registry itself (no mirror) for its API's root under `access`. Unauthenticated when it
// refuses the credentials; otherwise as Resolver's errors.
Status check_login(const Context& context, http::Client& client, const DistributionOptions& options,
                   const std::string& host, const Access& access);

}  // namespace skiff::registry
