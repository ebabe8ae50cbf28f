// The user's ~/.docker/config.json, as far as registries go: auths, credsStore, credHelpers.
// Everything else in it is kept as it is. Not thread-safe.
// Fact source: docker/cli's documentation of its configuration file.
#pragma once

#include <optional>
#include <string>

#include "base/context.h"
#include "codec/json/json.h"
#include "serve/native/api.h"
#include "sys/file.h"

namespace skiff::cli {

class DockerConfig {
 public:
  // $DOCKER_CONFIG/config.json, else $HOME/.docker/config.json.
  static sys::Path default_path();
  // A missing file is an empty configuration. InvalidArgument names the file, never its content.
  static Result<DockerConfig> load(const sys::Path& file);

  // What this user has for a registry as it stands in references ("docker.io", "localhost:5000"),
  // from its helper or the file; empty when there is nothing.
  Result<std::optional<native::Credential>> find(const Context& context,
                                                 const std::string& host) const;
  // Keeps them: in the helper where one is configured, else in the file, which is replaced whole
  // with mode 0600. Says where they went.
  Result<std::string> store(const Context& context, const native::Credential& credential);
  // False when there was nothing to forget.
  Result<bool> erase(const Context& context, const std::string& host);

 private:
  DockerConfig(sys::Path file, json::Value document)
      : file_(std::move(file)), document_(std::move(document)) {}
  std::string helper_for(const std::string& host) const;
  const json::Member* find_auth(const std::string& host) const;
  Status save() const;

  sys::Path file_;
  json::Value document_;
};

}  // namespace skiff::cli
