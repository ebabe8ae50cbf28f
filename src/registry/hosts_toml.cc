// hosts.toml: the only file of this folder that knows the TOML library.
#include <algorithm>
#include <charconv>
#include <filesystem>
#include <set>

#include "base/guarded.h"
#include "base/log.h"
#include "codec/toml_library.h"
#include "http/url.h"
#include "registry/hosts.h"

namespace skiff::registry {
namespace {

struct Place {
  const std::string& path;
  const std::string& directory;

  std::unexpected<Error> error(const toml::node& node, std::string_view what) const {
    return fail(Code::kInvalidArgument, "{}:{}: {}", path, node.source().begin.line, what);
  }
};

Result<std::string> as_string(const Place& place, const toml::node& node, std::string_view key) {
  if (auto* text = node.as_string()) return text->get();
  return place.error(node, fmt::format("{}: expected a string", key));
}

Result<bool> as_bool(const Place& place, const toml::node& node, std::string_view key) {
  if (auto* value = node.as_boolean()) return value->get();
  return place.error(node, fmt::format("{}: expected true or false", key));
}

// A string or a list of them.
Result<std::vector<std::string>> as_strings(const Place& place, const toml::node& node,
                                            std::string_view key) {
  std::vector<std::string> all;
  if (auto* list = node.as_array()) {
    for (const toml::node& entry : *list) all.push_back(SKIFF_TRY(as_string(place, entry, key)));
  } else {
    if (!node.is_string())
      return place.error(node, fmt::format("{}: expected a string or a list of strings", key));
    all.push_back(node.as_string()->get());
  }
  return all;
}

std::string absolute(const Place& place, const std::string& path) {
  return path.empty() || path.front() == '/' ? path : place.directory + "/" + path;
}

Status read_capabilities(const Place& place, const toml::node& node, Host& host) {
  host.pull = host.resolve = host.push = false;
  for (const std::string& name : SKIFF_TRY(as_strings(place, node, "capabilities"))) {
    if (name == "pull")
      host.pull = true;
    else if (name == "resolve")
      host.resolve = true;
    else if (name == "push")
      host.push = true;
    else if (name != "referrers")  // newer containerd's; not asked for here
      return place.error(node,
                         fmt::format("capabilities: \"{}\" is none of pull, resolve, push", name));
  }
  return ok();
}

Status read_ca(const Place& place, const toml::node& node, Host& host) {
  std::vector<std::string> paths = SKIFF_TRY(as_strings(place, node, "ca"));
  for (std::string& path : paths) path = absolute(place, path);
  auto pem = read_pem_files(paths);
  if (!pem) return place.error(node, fmt::format("ca: {}", pem.error().message()));
  host.tls.ca_pem = *std::move(pem);
  return ok();
}

// "cert.pem" (with the key inside), ["cert.pem", ...] or [["cert.pem", "key.pem"], ...]. libcurl
// shows one certificate, so the first counts.
Status read_client(const Place& place, const toml::node& node, Host& host) {
  const toml::node* first = &node;
  if (auto* list = node.as_array()) {
    if (list->empty()) return ok();
    first = list->get(0);
  }
  std::vector<std::string> pair = SKIFF_TRY(as_strings(place, *first, "client"));
  if (pair.empty() || pair.size() > 2)
    return place.error(*first, "client: expected a certificate and its key");
  host.tls.client_cert = absolute(place, pair[0]);
  host.tls.client_key = pair.size() == 2 ? absolute(place, pair[1]) : "";
  for (const std::string& file : {host.tls.client_cert, host.tls.client_key}) {
    std::error_code ignored;
    if (!file.empty() && !std::filesystem::exists(file, ignored))
      return place.error(*first, fmt::format("client: {} does not exist", file));
  }
  return ok();
}

Status read_headers(const Place& place, const toml::node& node, Host& host) {
  auto* table = node.as_table();
  if (!table) return place.error(node, "header: expected a table");
  for (auto&& [key, value] : *table) {
    for (std::string& text : SKIFF_TRY(as_strings(place, value, "header"))) {
      if (text.find_first_of("\r\n") != text.npos)
        return place.error(value, fmt::format("header: line breaks in \"{}\"", key.str()));
      host.headers.add({std::string(key.str()), std::move(text), true});
    }
  }
  return ok();
}

// Go's durations: "30s", "1m30s", "500ms"; a bare number is refused, as Go does.
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) {
  double total = 0;
  if (text.empty()) return {};
  while (!text.empty()) {
    double value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || value < 0) return {};
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    struct Unit {
      std::string_view name;
      double ms;
    };
    bool known = false;
    for (Unit unit : {Unit{"ms", 1}, Unit{"s", 1000}, Unit{"m", 60'000}, Unit{"h", 3'600'000}})
      if (!known && text.starts_with(unit.name)) {
        total += value * unit.ms;
        text.remove_prefix(unit.name.size());
        known = true;
      }
    if (!known || total > 1e9) return {};
  }
  return std::chrono::milliseconds(static_cast<int64_t>(total));
}

Status read_dial_timeout(const Place& place, const toml::node& node, Host& host) {
  auto time = parse_duration(SKIFF_TRY(as_string(place, node, "dial_timeout")));
  if (!time || time->count() == 0)
    return place.error(node, "dial_timeout: expected a duration like \"30s\"");
  host.dial_timeout = *time;
  return ok();
}

// The base URL of a server or mirror: https when no scheme is given, ending in /v2 unless
// override_path says that the path is right as it is.
Result<std::string> base_url(const Place& place, const toml::node& node, std::string text,
                             bool override_path) {
  if (text.find("://") == text.npos) text = "https://" + text;
  auto url = http::Url::parse(text);
  if (!url) return place.error(node, url.error().message());
  std::string base = url->display();
  while (base.ends_with('/')) base.pop_back();
  if (!override_path && !base.ends_with("/v2")) base += "/v2";
  return base;
}

void warn_once(const Place& place, const toml::node& node, std::string_view key) {
  static Guarded<std::set<std::string>> warned;
  std::string text = fmt::format("{}:{}: {}", place.path, node.source().begin.line, key);
  auto known = warned.lock();
  // Bounded: what a daemon's life could add up to does not matter, a loop of edits would.
  if (known->size() < 1000 && known->insert(text).second)
    log::warning("unknown key in hosts.toml", {{"key", text}});
}

// The settings of one host from its table. `override_path` is read first by the caller.
Status read_host(const Place& place, const toml::table& table, bool is_root, Host& host,
                 bool* has_tls) {
  for (auto&& [name, node] : table) {
    std::string_view key = name.str();
    if (key == "capabilities")
      SKIFF_TRY(read_capabilities(place, node, host));
    else if (key == "ca")
      SKIFF_TRY(read_ca(place, node, host));
    else if (key == "client")
      SKIFF_TRY(read_client(place, node, host));
    else if (key == "skip_verify")
      host.tls.skip_verify = SKIFF_TRY(as_bool(place, node, key));
    else if (key == "header")
      SKIFF_TRY(read_headers(place, node, host));
    else if (key == "dial_timeout")
      SKIFF_TRY(read_dial_timeout(place, node, host));
    else if (key != "override_path" && !(is_root && (key == "server" || key == "host")))
      warn_once(place, node, key);
    if (has_tls && (key == "ca" || key == "client" || key == "skip_verify")) *has_tls = true;
  }
  return ok();
}

Result<bool> overrides_path(const Place& place, const toml::table& table) {
  auto* node = table.get("override_path");
  return node ? as_bool(place, *node, "override_path") : Result<bool>(false);
}

Result<Host> read_mirror(const Place& place, std::string_view url, const toml::node& node) {
  auto* table = node.as_table();
  if (!table) return place.error(node, fmt::format("host.\"{}\": expected a table", url));
  Host host;
  bool override_path = SKIFF_TRY(overrides_path(place, *table));
  host.base = SKIFF_TRY(base_url(place, node, std::string(url), override_path));
  host.name = http::Url::parse(host.base)->authority();
  SKIFF_TRY(read_host(place, *table, false, host, nullptr));
  return host;
}

Result<std::vector<Host>> read_mirrors(const Place& place, const toml::node& node) {
  auto* table = node.as_table();
  if (!table) return place.error(node, "host: expected tables like [host.\"https://...\"]");
  // The library sorts keys; mirrors count in the order in which they stand in the file.
  std::vector<std::pair<std::string_view, const toml::node*>> entries;
  for (auto&& [key, value] : *table) entries.emplace_back(key.str(), &value);
  std::stable_sort(entries.begin(), entries.end(), [](auto& a, auto& b) {
    auto x = a.second->source().begin, y = b.second->source().begin;
    return std::pair(x.line, x.column) < std::pair(y.line, y.column);
  });
  std::vector<Host> mirrors;
  for (auto& [url, entry] : entries) mirrors.push_back(SKIFF_TRY(read_mirror(place, url, *entry)));
  return mirrors;
}

}  // namespace

Result<HostsFile> parse_hosts_toml(std::string_view text, const std::string& path,
                                   const std::string& directory) {
  toml::parse_result parsed = toml::parse(text);
  if (!parsed)
    return fail(Code::kInvalidArgument, "{}:{}: {}", path, parsed.error().source().begin.line,
                parsed.error().description());
  const toml::table& root = parsed.table();
  Place place{path, directory};
  HostsFile file;
  if (auto* hosts = root.get("host")) file.mirrors = SKIFF_TRY(read_mirrors(place, *hosts));
  if (auto* server = root.get("server")) {
    bool override_path = SKIFF_TRY(overrides_path(place, root));
    std::string url = SKIFF_TRY(as_string(place, *server, "server"));
    file.server.base = SKIFF_TRY(base_url(place, *server, std::move(url), override_path));
  }
  SKIFF_TRY(read_host(place, root, true, file.server, &file.server_has_tls));
  return file;
}

}  // namespace skiff::registry
