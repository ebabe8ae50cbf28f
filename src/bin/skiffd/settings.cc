#include "bin/skiffd/settings.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include <fmt/ranges.h>
#include <grp.h>

#include "bin/skiffd/setting_types.h"

namespace skiff::daemon {
namespace {

using Value = TomlEntry::Value;
using Choices = std::vector<std::string_view>;

// --- the table ----------------------------------------------------------------------------------
struct Row {
  std::string key;
  std::string_view help;
  std::function<Status(const Value&)> read;
  std::function<std::string()> show;
};

struct Table {
  std::vector<Row> rows;

  template <typename T>
  void add(std::string key, T& field, std::string_view help) {
    rows.push_back({std::move(key), help,
                    [&field](const Value& value) { return daemon::read(value, field); },
                    [&field] { return daemon::show(field); }});
  }
  void add(std::string key, std::string& field, Choices choices, std::string_view help) {
    add(std::move(key), field, help);
    rows.back().read = [&field, choices = std::move(choices)](const Value& value) -> Status {
      std::string text;
      SKIFF_TRY(daemon::read(value, text));
      if (std::ranges::find(choices, text) == choices.end())
        return fail(Code::kInvalidArgument, "expected one of {}", fmt::join(choices, ", "));
      field = text;
      return ok();
    };
  }
  void add(std::string key, int64_t& field, int64_t least, int64_t most, std::string_view help) {
    add(std::move(key), field, help);
    rows.back().read = [&field, least, most](const Value& value) -> Status {
      int64_t number = 0;
      SKIFF_TRY(daemon::read(value, number));
      if (number < least || number > most)
        return fail(Code::kInvalidArgument, "expected a number from {} to {}", least, most);
      field = number;
      return ok();
    };
  }
};

constexpr std::string_view kProxyPrefix = "snapshotter.proxy.";

Table table_of(Settings& s) {
  Table t;
  t.add("root", s.root, "Where images, layers and metadata are kept.");
  t.add("state", s.state, "Sockets and the state of running containers; gone after a boot.");
  t.add("oom_score", s.oom_score, -1000, 1000,
        "The daemon's oom_score_adj. 0 leaves it as it was inherited.");

  t.add("log.level", s.log.level, {"debug", "info", "warning", "error"},
        "Lines below this level are dropped.");
  t.add("log.format", s.log.format, {"logfmt", "json"}, "The form of the lines on stderr.");

  t.add("native.address", s.native.address,
        "Unix socket of skiff's own API. Empty: skiff.sock in the state folder.");
  t.add("native.mode", s.native.mode, "The socket's mode: who may open it commands this host.");
  t.add("native.group", s.native.group, "The socket's group, by name. Empty: the daemon's.");

  t.add("metrics.address", s.metrics.address,
        "Where Prometheus may read metrics: \"127.0.0.1:9323\", or a unix socket's path. Empty: "
        "nowhere.");

  t.add(
      "snapshotter.default", s.snapshotter.fallback,
      "What containers and unpacked layers live in: \"overlay\", \"native\" (plain copies) or the "
      "name of a proxy below.");

  t.add("pull.layer_fetches", s.pull.layer_fetches, 1, 256,
        "Blobs fetched at once in the whole daemon.");
  t.add("pull.unpacks", s.pull.unpacks, 0, 256,
        "Layers unpacked at once. 0: the number of processors.");
  t.add("pull.connections_per_blob", s.pull.connections_per_blob, 1, 64,
        "Connections over which one big blob is fetched.");
  t.add("pull.piece_size", s.pull.piece_size, "What one of these connections fetches at a time.");
  t.add("pull.max_layer_size", s.pull.max_layer_size, "Unpacked bytes of one layer. 0: no bound.");
  t.add("pull.max_layer_entries", s.pull.max_layer_entries, 1, INT64_MAX,
        "Files and folders in one layer.");
  t.add("pull.content_sharing_policy", s.pull.content_sharing_policy, {"shared", "isolated"},
        "isolated: a namespace gets content that another one has only after the registry gave its "
        "user access to each blob.");
  t.add("pull.free_space_reserve", s.pull.free_space_reserve,
        "Pulls stop before less than this is free.");

  t.add("registry.config_path", s.registry.config_path,
        "Folders with a <host>/hosts.toml or Docker's certs.d layout; read anew for each request.");
  t.add("registry.credentials_file", s.registry.credentials_file,
        "A config.json as docker login writes it, for requests that bring no credentials.");
  t.add("registry.progress_timeout", s.registry.progress_timeout,
        "A transfer fails when no byte arrives for this long.");

  t.add("gc.startup_delay", s.gc.startup_delay, "First collection after the start.");
  t.add("gc.delay", s.gc.delay, "Collection after something was removed.");
  t.add("gc.interval", s.gc.interval,
        "Collection at the latest after this. \"0s\": never by itself.");

  t.add("runtime.name", s.runtime.name,
        "OCI runtime: a name or a path. Empty: runc or crun, whichever works here.");
  t.add("runtime.shim", s.runtime.shim, "Path of skiff-shim. Empty: beside skiffd.");
  t.add("runtime.cgroup_parent", s.runtime.cgroup_parent, "Containers' cgroups are made below it.");
  return t;
}

// Proxies have names of the user's choice: their rows come into being as they are named.
void add_proxy(Table& t, const std::string& prefix, Settings::Proxy& proxy) {
  t.add(prefix + "address", proxy.address,
        "Socket of a snapshotter that speaks containerd's snapshots service: a path, without a "
        "scheme.");
  t.add(prefix + "remote", proxy.remote,
        "Ask it for layers before they are downloaded (a lazy snapshotter).");
}

// "stargz" for "snapshotter.proxy.stargz.address"; empty for other keys.
std::string proxy_name(std::string_view key) {
  if (!key.starts_with(kProxyPrefix)) return {};
  key.remove_prefix(kProxyPrefix.size());
  return std::string(key.substr(0, key.find('.')));
}

size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 1; i <= a.size(); i++) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); j++) {
      size_t changed = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, changed});
    }
  }
  return row[b.size()];
}

const std::string& nearest(const Table& table, std::string_view key) {
  return std::ranges::min_element(table.rows, {},
                                  [&](const Row& row) { return distance(row.key, key); })
      ->key;
}

Status apply(Table& table, const TomlEntry& entry) {
  auto row = std::ranges::find(table.rows, entry.key, &Row::key);
  if (row == table.rows.end())
    return fail(Code::kInvalidArgument, "unknown key \"{}\"; did you mean \"{}\"?", entry.key,
                nearest(table, entry.key));
  SKIFF_TRY_WRAP(row->read(entry.value), "{}", entry.key);
  return ok();
}

Status check_proxy(const std::string& name, const Settings::Proxy& proxy) {
  std::string key = fmt::format("{}{}.address", kProxyPrefix, name);
  if (name == "overlay" || name == "native")
    return fail(Code::kInvalidArgument, "{}: \"{}\" is a snapshotter of skiff's own", key, name);
  if (proxy.address.find("://") != std::string::npos)
    return fail(Code::kInvalidArgument, "{}: \"{}\" has a scheme; give the socket's path alone",
                key, proxy.address);
  if (!proxy.address.starts_with('/'))
    return fail(Code::kInvalidArgument, "{}: \"{}\" is no absolute path", key, proxy.address);
  auto status = sys::stat_path(proxy.address);
  if (!status)
    return std::unexpected(std::move(status).error().with_code(Code::kInvalidArgument).wrap(key));
  if (!S_ISSOCK(status->st_mode))
    return fail(Code::kInvalidArgument, "{}: {} is no socket", key, proxy.address);
  return ok();
}

}  // namespace

std::string Settings::native_address() const {
  return native.address.empty() ? state + "/skiff.sock" : native.address;
}

Result<Settings> parse_settings(std::string_view text, const std::string& file_name) {
  Settings settings;
  Table table = table_of(settings);
  for (const TomlEntry& entry : SKIFF_TRY(parse_toml(text, file_name))) {
    if (std::string name = proxy_name(entry.key);
        !name.empty() && !settings.snapshotter.proxies.contains(name))
      add_proxy(table, fmt::format("{}{}.", kProxyPrefix, name),
                settings.snapshotter.proxies[name]);
    SKIFF_TRY_WRAP(apply(table, entry), "{}:{}", file_name, entry.line);
  }
  return settings;
}

Result<Settings> load_settings(const sys::Path& file, bool must_exist) {
  auto text = sys::read_file(file, 1 << 20);
  if (!text && text.error().is(Code::kNotFound) && !must_exist) return Settings();
  if (!text) return std::unexpected(std::move(text).error());
  return parse_settings(*text, file.string());
}

Status check_settings(const Settings& settings) {
  const std::pair<std::string_view, const std::string&> paths[] = {
      {"root", settings.root},
      {"state", settings.state},
      {"native.address", settings.native.address},
      {"runtime.shim", settings.runtime.shim},
      {"registry.credentials_file", settings.registry.credentials_file},
      {"runtime.cgroup_parent", settings.runtime.cgroup_parent}};
  for (auto [key, path] : paths)
    if (!path.empty() && !path.starts_with('/'))
      return fail(Code::kInvalidArgument, "{}: \"{}\" is no absolute path", key, path);
  if (settings.root.empty()) return fail(Code::kInvalidArgument, "root is empty");
  if (settings.state.empty()) return fail(Code::kInvalidArgument, "state is empty");
  if (settings.pull.piece_size.bytes < 64 << 10)
    return fail(Code::kInvalidArgument, "pull.piece_size: less than 64KiB");
  if (const std::string& group = settings.native.group;
      !group.empty() && getgrnam(group.c_str()) == nullptr)
    return fail(Code::kInvalidArgument, "native.group: this host has no group \"{}\"", group);
  for (const auto& [name, proxy] : settings.snapshotter.proxies)
    SKIFF_TRY(check_proxy(name, proxy));
  const std::string& chosen = settings.snapshotter.fallback;
  if (chosen != "overlay" && chosen != "native" && !settings.snapshotter.proxies.contains(chosen))
    return fail(Code::kInvalidArgument,
                "snapshotter.default: there is no snapshotter \"{}\"; known are overlay, native{}",
                chosen, settings.snapshotter.proxies.empty() ? "" : " and the proxies");
  return ok();
}

std::string default_settings_toml() {
  Settings settings;
  Table table = table_of(settings);
  std::string text = "# skiffd's configuration; every key, with its default.\n";
  std::string section;
  for (const Row& row : table.rows) {
    size_t dot = row.key.rfind('.');
    std::string row_section = dot == std::string::npos ? "" : row.key.substr(0, dot);
    text += '\n';
    if (row_section != section) text += fmt::format("[{}]\n", section = row_section);
    text += fmt::format("# {}\n{} = {}\n", row.help, row.key.substr(dot + 1), row.show());
  }
  Settings::Proxy proxy;
  Table rows;
  add_proxy(rows, "", proxy);
  text +=
      "\n# A table like this for each proxy snapshotter, by any name.\n# "
      "[snapshotter.proxy.stargz]\n";
  for (const Row& row : rows.rows)
    text += fmt::format("# # {}\n# {} = {}\n", row.help, row.key, row.show());
  return text;
}

}  // namespace skiff::daemon
