#include "registry/hosts.h"

#include <algorithm>
#include <filesystem>
#include <optional>

#include "http/url.h"
#include "sys/file.h"

namespace skiff::registry {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxFileBytes = 4 << 20;

// Where "host:port" or "[::1]:port" has its colon.
size_t port_colon(const std::string& registry) {
  size_t colon = registry.rfind(':');
  bool inside_brackets = colon != registry.npos && registry.find(']', colon) != registry.npos;
  return inside_brackets ? registry.npos : colon;
}

std::vector<std::string> directory_names(const std::string& registry) {
  std::vector<std::string> names;
  if (size_t colon = port_colon(registry); colon != registry.npos)
    names.push_back(registry.substr(0, colon) + "_" + registry.substr(colon + 1) + "_");
  names.push_back(registry);
  names.push_back("_default");
  return names;
}

std::optional<std::string> find_directory(const std::vector<std::string>& roots,
                                          const std::string& registry) {
  for (const std::string& root : roots)
    for (const std::string& name : directory_names(registry)) {
      std::string path = root + "/" + name;
      std::error_code ignored;
      if (fs::is_directory(path, ignored)) return path;
    }
  return {};
}

// Docker's layout: every *.crt is a CA; the first *.cert is our certificate, its key beside it.
Result<http::Tls> read_docker_certs(const std::string& directory) {
  std::vector<std::string> authorities, certificates;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    if (entry.path().extension() == ".crt") authorities.push_back(entry.path());
    if (entry.path().extension() == ".cert") certificates.push_back(entry.path());
  }
  if (error) return fail_errno(error.value(), "read {}", directory);
  std::sort(authorities.begin(), authorities.end());
  std::sort(certificates.begin(), certificates.end());
  http::Tls tls;
  tls.ca_pem = SKIFF_TRY(read_pem_files(authorities));
  if (certificates.empty()) return tls;
  tls.client_cert = certificates.front();
  tls.client_key = fs::path(certificates.front()).replace_extension(".key");
  std::error_code ignored;
  if (!fs::exists(tls.client_key, ignored))
    return fail(Code::kFailedPrecondition, "{} has no key: {} is missing", tls.client_cert,
                tls.client_key);
  return tls;
}

Result<HostsFile> read_directory(const std::string& directory) {
  std::string path = directory + "/hosts.toml";
  auto text = sys::read_file(path, kMaxFileBytes);
  if (text) return parse_hosts_toml(*text, path, directory);
  if (!text.error().is(Code::kNotFound)) return std::unexpected(std::move(text).error());
  HostsFile file;
  file.server.tls = SKIFF_TRY(read_docker_certs(directory));
  file.server_has_tls = !file.server.tls.ca_pem.empty() || !file.server.tls.client_cert.empty();
  return file;
}

std::string default_base(const std::string& registry, bool has_tls, const Access& access) {
  if (registry == "docker.io") return "https://registry-1.docker.io/v2";
  size_t colon = port_colon(registry);
  std::string host = registry.substr(0, colon);
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  bool port_443 = colon != registry.npos && registry.substr(colon) == ":443";
  bool http = access.plain_http || (http::is_loopback(host) && !has_tls && !port_443);
  return (http ? "http://" : "https://") + registry + "/v2";
}

// As containerd decides whether to send ?ns=.
bool serves_itself(const std::string& base, const std::string& registry) {
  auto url = http::Url::parse(base);
  if (!url) return false;
  return url->authority() == registry ||
         fmt::format("{}:{}", url->authority(), url->port()) == registry ||
         (registry == "docker.io" && url->authority() == "registry-1.docker.io");
}

}  // namespace

Result<std::string> read_pem_files(const std::vector<std::string>& paths) {
  std::string all;
  for (const std::string& path : paths) {
    auto text = sys::read_file(path, kMaxFileBytes);
    if (!text) return std::unexpected(std::move(text).error().with_code(Code::kFailedPrecondition));
    if (text->find("-----BEGIN") == text->npos)
      return fail(Code::kFailedPrecondition, "{} holds no PEM certificate", path);
    all += *text;
    if (all.back() != '\n') all += '\n';
  }
  return all;
}

Result<std::vector<Host>> find_hosts(const std::vector<std::string>& directories,
                                     const std::string& registry, const Access& access) {
  HostsFile file;
  if (auto directory = find_directory(directories, registry))
    file = SKIFF_TRY(read_directory(*directory));
  std::vector<Host> hosts = std::move(file.mirrors);
  if (file.server.base.empty())
    file.server.base = default_base(registry, file.server_has_tls, access);
  hosts.push_back(std::move(file.server));
  for (Host& host : hosts) {
    bool mirror = !serves_itself(host.base, registry);
    host.ns = mirror ? registry : "";
    // The registry's credentials are for whatever host its configuration calls its server.
    if (!mirror || &host == &hosts.back()) host.name = registry;
    if (access.skip_verify) host.tls.skip_verify = true;
  }
  return hosts;
}

}  // namespace skiff::registry
