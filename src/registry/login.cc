#include "registry/login.h"

#include "registry/session.h"

namespace skiff::registry {

Status check_login(const Context& context, http::Client& client, const DistributionOptions& options,
                   const std::string& host, const Access& access) {
  // Any repository will do: none is asked for.
  auto reference = SKIFF_TRY(oci::Reference::parse(host + "/login"));
  auto hosts = SKIFF_TRY(find_hosts(options.hosts_directories, reference.registry(), access));
  Session session(std::make_shared<Shared>(client, options), reference, access, std::move(hosts),
                  {});
  const Host& registry = session.hosts().back();
  auto response = SKIFF_TRY(
      session.send(context, registry, session.request(registry, "GET", registry.base + "/")));
  if (!response.success()) return std::unexpected(status_error(response));
  return ok();
}

}  // namespace skiff::registry
