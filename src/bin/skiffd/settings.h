// The daemon's settings: a typed value each, read from a TOML file.
//
// Each key stands once, in settings.cc's table: name, field, meaning. Reading, checking, printing
// the defaults and "did you mean" all go through that table.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "sys/file.h"

namespace skiff::daemon {

inline constexpr char kDefaultConfig[] = "/etc/skiff/config.toml";

// Sizes are written as a number of bytes or with a unit: 512, "64KiB", "8MiB", "1GiB".
struct ByteSize {
  uint64_t bytes = 0;
};
// "250ms", "30s", "5m", "1h".
using Duration = std::chrono::milliseconds;
// "0660"
struct FileMode {
  unsigned bits = 0660;
};

struct Settings {
  struct Proxy {
    std::string address;
    bool remote = false;
  };

  std::string root = "/var/lib/skiff";
  std::string state = "/run/skiff";
  int64_t oom_score = 0;

  struct {
    std::string level = "info";
    std::string format = "logfmt";
  } log;

  struct {
    std::string address;  // empty: <state>/skiff.sock
    FileMode mode;
    std::string group;
  } native;

  struct {
    std::string address;  // empty: off
  } metrics;

  struct {
    std::string fallback = "overlay";  // snapshotter.default
    std::map<std::string, Proxy> proxies;
  } snapshotter;

  struct {
    int64_t layer_fetches = 6;
    int64_t unpacks = 0;
    int64_t connections_per_blob = 4;
    ByteSize piece_size{8 << 20};
    ByteSize max_layer_size;
    int64_t max_layer_entries = 10'000'000;
    std::string content_sharing_policy = "shared";
    ByteSize free_space_reserve{256 << 20};
  } pull;

  struct {
    std::vector<std::string> config_path = {"/etc/skiff/certs.d", "/etc/containerd/certs.d",
                                            "/etc/docker/certs.d"};
    std::string credentials_file;
    Duration progress_timeout = std::chrono::minutes(5);
  } registry;

  struct {
    Duration startup_delay = std::chrono::seconds(10);
    Duration delay = std::chrono::seconds(1);
    Duration interval = std::chrono::hours(1);
  } gc;

  struct {
    std::string name;  // empty: probed
    std::string shim;  // empty: skiff-shim beside the daemon
    std::string cgroup_parent = "/skiff";
  } runtime;

  // Where the native API listens.
  std::string native_address() const;
};

// The text's settings over the defaults. InvalidArgument names the file, the line, and for an
// unknown key the nearest one there is.
Result<Settings> parse_settings(std::string_view text, const std::string& file_name);
// The same from a file. Without `must_exist` a missing file means the defaults.
Result<Settings> load_settings(const sys::Path& file, bool must_exist);
// What the values themselves cannot say: that they go together and with this host (a proxy's
// socket that is there, a group that exists). InvalidArgument names the key.
Status check_settings(const Settings& settings);
// Every key with its meaning and default, as TOML that parses to the defaults.
std::string default_settings_toml();

}  // namespace skiff::daemon
