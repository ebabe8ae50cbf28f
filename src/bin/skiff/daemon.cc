#include "bin/skiff/daemon.h"

#include <set>

#include <unistd.h>

#include "bin/skiff/docker_config.h"
#include "oci/reference.h"

namespace skiff::cli {

Result<Daemon> Daemon::connect(const Global& global) {
  auto client = ttrpc::Client::connect(global.address);
  if (client) return Daemon(*std::move(client), Context().with_namespace(global.name_space));
  const Error& error = client.error();
  if (error.is(Code::kPermissionDenied))
    return fail(Code::kPermissionDenied,
                "may not connect to skiffd at {}: run this as root, or as a member of the socket's "
                "group (native.group in skiffd's configuration)",
                global.address);
  if (error.is(Code::kNotFound) || error.is(Code::kUnavailable))
    return fail(Code::kUnavailable,
                "cannot reach skiffd at {}: is it running? Start it with `systemctl start skiffd`, "
                "or name another socket with --address",
                global.address);
  return std::unexpected(error.wrap("connect to skiffd at " + global.address));
}

Result<native::Access> access_for(const Context& context, const RegistryOptions& options,
                                  const std::vector<std::string>& references) {
  native::Access access;
  access.plain_http = options.plain_http;
  access.skip_verify = options.skip_verify;
  std::set<std::string> hosts;
  for (const std::string& text : references)
    hosts.insert(SKIFF_TRY(oci::Reference::parse(text)).registry());
  DockerConfig config = SKIFF_TRY(DockerConfig::load(DockerConfig::default_path()));
  for (const std::string& host : hosts) {
    auto credential = SKIFF_TRY(config.find(context, host));
    if (credential) access.credentials.push_back(std::move(*credential));
  }
  return access;
}

}  // namespace skiff::cli
