// Where a registry's requests go: the registry itself and its mirrors, with their TLS settings.
//
// The layout is containerd's certs.d: `<dir>/<host>_<port>_/hosts.toml` or `<dir>/<host>:<port>/`,
// else `<dir>/_default/`; without a hosts.toml the directory may hold Docker's certs.d files (*.crt
// CAs, *.cert with *.key client certificates). Read anew for each call, so edits count at once.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "http/message.h"
#include "registry/registry.h"

namespace skiff::registry {

struct Host {
  // As credentials know it: the registry's own name ("docker.io"), or the mirror's host and port.
  std::string name;
  // "https://registry-1.docker.io/v2": what all paths of the distribution specification follow.
  std::string base;
  bool pull = true;
  bool resolve = true;
  bool push = true;
  http::Tls tls;
  // Sent with every request; marked sensitive.
  http::Headers headers;
  std::chrono::milliseconds dial_timeout{30'000};
  // The registry that this is a mirror of, sent as ?ns=; empty for the registry itself.
  std::string ns;
};

// What hosts.toml says, before defaults: `server` has an empty base when the file names none.
struct HostsFile {
  std::vector<Host> mirrors;
  Host server;
  bool server_has_tls = false;  // the file gives TLS settings for the server
};

// `path` names the file in errors ("path:line: ...", InvalidArgument); certificates are read from
// where the file says, relative to `directory`. Unknown keys are logged, once each.
// Keys: containerd's docs/hosts.md.
Result<HostsFile> parse_hosts_toml(std::string_view text, const std::string& path,
                                   const std::string& directory);

// The hosts to try for a registry ("docker.io", "localhost:5000"), mirrors first, the registry
// last. The first of `directories` that knows the registry (or has a _default) counts.
// Loopback registries speak http, unless on port 443 or with TLS settings of their own; all others
// https; docker.io is served by registry-1.docker.io.
Result<std::vector<Host>> find_hosts(const std::vector<std::string>& directories,
                                     const std::string& registry, const Access& access);

// Reads PEM files one after another. FailedPrecondition names the file.
Result<std::string> read_pem_files(const std::vector<std::string>& paths);

}  // namespace skiff::registry
