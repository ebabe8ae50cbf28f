#include "bin/skiff/run_spec.h"

#include <cstdlib>
#include <filesystem>

#include "base/random_id.h"
#include "bin/skiff/text.h"
#include "sys/file.h"

namespace skiff::cli {
namespace {

constexpr size_t kMaxEnvFile = 4 << 20;
constexpr size_t kIdBytes = 32;

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> out;
  for (;;) {
    size_t end = text.find(separator);
    out.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return out;
    text.remove_prefix(end + 1);
  }
}

// "KEY" takes its value from here; where it has none here it has none in the container either.
std::string with_own_value(std::string variable) {
  if (variable.find('=') != std::string::npos) return variable;
  const char* value = std::getenv(variable.c_str());
  return value ? variable + "=" + value : variable;
}

Result<std::vector<std::string>> environment(const RunOptions& options) {
  std::vector<std::string> out;
  for (const std::string& file : options.env_files) {
    std::string text = SKIFF_TRY_WRAP(sys::read_file(file, kMaxEnvFile), "--env-file");
    for (std::string& line : SKIFF_TRY(parse_env_file(file, text))) out.push_back(std::move(line));
  }
  for (const std::string& variable : options.env) {
    if (variable.empty() || variable[0] == '=')
      return fail(Code::kInvalidArgument, "--env \"{}\": write it as KEY=VALUE or KEY", variable);
    out.push_back(with_own_value(variable));
  }
  return out;
}

// "key=value" pairs; a key alone has an empty value where that is allowed.
Result<std::map<std::string, std::string>> pairs(const std::vector<std::string>& words,
                                                 std::string_view option, bool value_needed) {
  std::map<std::string, std::string> out;
  for (const std::string& word : words) {
    size_t equals = word.find('=');
    if (equals == 0 || word.empty() || (equals == std::string::npos && value_needed))
      return fail(Code::kInvalidArgument, "{} \"{}\": write it as KEY=VALUE", option, word);
    out[word.substr(0, equals)] = equals == std::string::npos ? "" : word.substr(equals + 1);
  }
  return out;
}

Status check_target(std::string_view option, std::string_view text, const std::string& target) {
  if (target.starts_with('/') && target != "/") return ok();
  return fail(Code::kInvalidArgument,
              "{} \"{}\": the path in the container must be absolute and not /", option, text);
}

Result<native::Network> network_of(const std::string& name) {
  if (name == "none") return native::Network::kNone;
  if (name == "host") return native::Network::kHost;
  return fail(Code::kInvalidArgument, "--net \"{}\": only none and host are supported", name);
}

}  // namespace

Result<native::Mount> parse_volume(std::string_view text) {
  std::vector<std::string> parts = split(text, ':');
  if (parts.size() < 2 || parts.size() > 3 || parts[0].empty())
    return fail(Code::kInvalidArgument,
                "--volume \"{}\": write it as /host/path:/container/path[:ro]", text);
  native::Mount mount;
  bool is_path = parts[0][0] == '/' || parts[0][0] == '.';
  if (!is_path)
    return fail(Code::kInvalidArgument,
                "--volume \"{}\": named volumes are not supported; give a path, such as ./{}", text,
                parts[0]);
  std::error_code error;
  mount.source = std::filesystem::absolute(parts[0], error).lexically_normal().string();
  if (mount.source.size() > 1 && mount.source.ends_with('/')) mount.source.pop_back();
  mount.target = parts[1];
  SKIFF_TRY(check_target("--volume", text, mount.target));
  if (parts.size() == 2) return mount;
  for (std::string& option : split(parts[2], ',')) {
    if (option == "ro") {
      mount.read_only = true;
    } else if (option == "z" || option == "Z" || option == "rw" || option.empty()) {
      // Labels for SELinux, which does not run here, and the default.
    } else {
      mount.options.push_back(std::move(option));
    }
  }
  return mount;
}

Result<native::Mount> parse_tmpfs(std::string_view text) {
  size_t colon = text.find(':');
  native::Mount mount;
  mount.type = native::MountType::kTmpfs;
  mount.target = text.substr(0, colon);
  SKIFF_TRY(check_target("--tmpfs", text, mount.target));
  if (colon == std::string_view::npos) return mount;
  for (std::string& option : split(text.substr(colon + 1), ',')) {
    if (option == "ro") {
      mount.read_only = true;
    } else if (!option.empty() && option != "rw") {
      mount.options.push_back(std::move(option));
    }
  }
  return mount;
}

Result<std::vector<std::string>> parse_env_file(const std::string& name, std::string_view text) {
  std::vector<std::string> out;
  int number = 0;
  for (std::string& line : split(text, '\n')) {
    ++number;
    if (line.ends_with('\r')) line.pop_back();
    line.erase(0, std::min(line.find_first_not_of(" \t"), line.size()));
    if (line.empty() || line[0] == '#') continue;
    std::string key = line.substr(0, line.find('='));
    if (key.empty() || key.find_first_of(" \t") != std::string::npos)
      return fail(Code::kInvalidArgument, "{}:{}: \"{}\" is no name of a variable", name, number,
                  key);
    if (line.size() == key.size() && !std::getenv(key.c_str())) continue;
    out.push_back(with_own_value(std::move(line)));
  }
  return out;
}

Result<native::ContainerSpec> container_spec(const RunOptions& options) {
  native::ContainerSpec spec;
  spec.id = random_id(kIdBytes);
  spec.name = options.name;
  spec.image = options.image;
  spec.snapshotter = options.snapshotter;
  // An empty one takes the image's away and puts nothing in its place.
  if (options.entrypoint) {
    spec.entrypoint.emplace();
    if (!options.entrypoint->empty()) spec.entrypoint->values = {*options.entrypoint};
  }
  spec.command = options.command;
  spec.env = SKIFF_TRY(environment(options));
  spec.working_dir = options.working_dir;
  if (!spec.working_dir.empty() && spec.working_dir[0] != '/')
    return fail(Code::kInvalidArgument, "--workdir \"{}\": it must be absolute", spec.working_dir);
  spec.user = options.user;
  spec.additional_groups = options.groups;
  spec.hostname = options.hostname;
  spec.tty = options.tty;
  spec.open_stdin = options.interactive;
  spec.read_only = options.read_only;
  spec.privileged = options.privileged;
  spec.network = SKIFF_TRY(network_of(options.network));
  for (const std::string& volume : options.volumes)
    spec.mounts.push_back(SKIFF_TRY(parse_volume(volume)));
  for (const std::string& tmpfs : options.tmpfs)
    spec.mounts.push_back(SKIFF_TRY(parse_tmpfs(tmpfs)));
  spec.cap_add = options.cap_add;
  spec.cap_drop = options.cap_drop;
  if (!options.memory.empty())
    spec.memory_bytes = SKIFF_TRY_WRAP(parse_bytes(options.memory), "--memory");
  if (options.cpus < 0)
    return fail(Code::kInvalidArgument, "--cpus {}: it is negative", options.cpus);
  spec.cpus = options.cpus;
  spec.pids_limit = options.pids_limit;
  spec.sysctls = SKIFF_TRY(pairs(options.sysctls, "--sysctl", true));
  spec.runtime = options.runtime;
  spec.labels = SKIFF_TRY(pairs(options.labels, "--label", false));
  spec.auto_remove = options.remove;
  return spec;
}

}  // namespace skiff::cli
