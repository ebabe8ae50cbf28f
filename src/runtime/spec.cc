#include "runtime/spec.h"

#include <algorithm>
#include <cmath>

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "oci/descriptor.h"
#include "runtime/host_limits.h"
#include "runtime/user.h"

namespace skiff::runtime {
namespace {

using json::Value;

constexpr char kDefaultPath[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr int64_t kCpuPeriod = 100'000;  // microseconds
constexpr int kTtyGroup = 5;

bool has_variable(const std::vector<std::string>& env, std::string_view name) {
  return std::any_of(env.begin(), env.end(), [&](const std::string& entry) {
    return entry.starts_with(name) && entry.size() > name.size() && entry[name.size()] == '=';
  });
}

std::vector<std::string> complete_env(const SpecOptions& options, const User& user) {
  std::vector<std::string> env = options.env;
  auto add = [&](const char* name, const std::string& value) {
    if (!has_variable(env, name)) env.push_back(fmt::format("{}={}", name, value));
  };
  add("PATH", kDefaultPath);
  if (!options.hostname.empty()) add("HOSTNAME", options.hostname);
  if (options.terminal) add("TERM", "xterm");
  add("HOME", user.home.empty() ? "/" : user.home);
  return env;
}

Result<std::vector<std::string>> capabilities_of(const SpecOptions& options,
                                                 std::vector<std::string>& warnings) {
  std::vector<std::string> add = options.cap_add;
  if (options.privileged) add.emplace_back("ALL");
  auto wanted = SKIFF_TRY(adjust_capabilities(default_capabilities(), add, options.cap_drop));
  // What only "everything" asked for may be missing without a word.
  std::vector<std::string> quiet;
  bool everything = std::find(add.begin(), add.end(), "ALL") != add.end();
  return clamp_capabilities(HostLimits::here(), std::move(wanted), everything ? quiet : warnings);
}

Value user_value(const User& user) {
  Value value = Value::object({{"uid", user.uid}, {"gid", user.gid}});
  if (!user.additional_gids.empty()) {
    Value gids = Value::array();
    for (uint32_t gid : user.additional_gids) gids.push_back(gid);
    value.set("additionalGids", std::move(gids));
  }
  return value;
}

Status check(const SpecOptions& options) {
  if (options.args.empty() || options.args[0].empty())
    return fail(Code::kInvalidArgument, "no command: the image has none, so say what to run");
  if (!options.cwd.starts_with('/'))
    return fail(Code::kInvalidArgument, "working directory {:?} is not absolute", options.cwd);
  for (const std::string& entry : options.env)
    if (entry.find('=') == std::string::npos || entry.starts_with('='))
      return fail(Code::kInvalidArgument, "environment entry {:?} is not NAME=VALUE", entry);
  for (const SpecMount& mount : options.mounts)
    if (!mount.target.starts_with('/'))
      return fail(Code::kInvalidArgument, "mount target {:?} is not absolute", mount.target);
  if (options.hostname.size() > 64)
    return fail(Code::kInvalidArgument, "hostname {:?} is longer than 64 bytes", options.hostname);
  if (options.cpus < 0 || !std::isfinite(options.cpus))
    return fail(Code::kInvalidArgument, "cpus {} is not a number of processors", options.cpus);
  return ok();
}

Value mount_value(std::string type, std::string source, std::string target,
                  const std::vector<std::string>& options) {
  return Value::object({{"destination", std::move(target)},
                        {"type", std::move(type)},
                        {"source", std::move(source)},
                        {"options", Value::array(options)}});
}

Value mounts_value(const SpecOptions& options) {
  const char* access = options.privileged ? "rw" : "ro";
  Value mounts = Value::array();
  mounts.push_back(mount_value("proc", "proc", "/proc", {"nosuid", "noexec", "nodev"}));
  mounts.push_back(
      mount_value("tmpfs", "tmpfs", "/dev", {"nosuid", "strictatime", "mode=755", "size=65536k"}));
  mounts.push_back(mount_value("devpts", "devpts", "/dev/pts",
                               {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620",
                                fmt::format("gid={}", kTtyGroup)}));
  mounts.push_back(mount_value("sysfs", "sysfs", "/sys", {"nosuid", "noexec", "nodev", access}));
  mounts.push_back(mount_value("cgroup", "cgroup", "/sys/fs/cgroup",
                               {"nosuid", "noexec", "nodev", "relatime", access}));
  if (options.host_ipc) {
    mounts.push_back(mount_value("bind", "/dev/mqueue", "/dev/mqueue", {"rbind"}));
    mounts.push_back(mount_value("bind", "/dev/shm", "/dev/shm", {"rbind"}));
  } else {
    mounts.push_back(mount_value("mqueue", "mqueue", "/dev/mqueue", {"nosuid", "noexec", "nodev"}));
    mounts.push_back(mount_value(
        "tmpfs", "shm", "/dev/shm",
        {"nosuid", "noexec", "nodev", "mode=1777", fmt::format("size={}", options.shm_bytes)}));
  }
  for (const SpecMount& mount : options.mounts) {
    std::vector<std::string> flags = mount.options;
    auto has = [&](const char* flag) {
      return std::find(flags.begin(), flags.end(), flag) != flags.end();
    };
    if (mount.type == "bind" && !has("bind") && !has("rbind")) flags.emplace_back("rbind");
    mounts.push_back(mount_value(mount.type, mount.source, mount.target, flags));
  }
  return mounts;
}

Value namespaces_value(const SpecOptions& options) {
  Value list = Value::array();
  auto add = [&](const char* type) { list.push_back(Value::object({{"type", type}})); };
  add("mount");
  if (!options.host_pid) add("pid");
  if (!options.host_ipc) add("ipc");
  if (!options.host_uts) add("uts");
  if (options.network == NetworkMode::kNone) add("network");
  if (options.network == NetworkMode::kPath)
    list.push_back(Value::object({{"type", "network"}, {"path", options.network_path}}));
  // On v1 a container sees its place among the host's cgroups, as Docker's users know it.
  if (HostLimits::here().cgroup_v2 && !options.privileged) add("cgroup");
  return list;
}

// One device node as the OCI spec describes it, and the rule that lets the container use it.
Status add_device(const SpecDevice& device, Value& devices, Value& rules) {
  auto info = SKIFF_TRY_WRAP(sys::stat_path(device.host_path), "device {}", device.host_path);
  if (!S_ISCHR(info.st_mode) && !S_ISBLK(info.st_mode))
    return fail(Code::kInvalidArgument, "{} is not a device", device.host_path);
  const char* type = S_ISCHR(info.st_mode) ? "c" : "b";
  auto number_major = static_cast<int64_t>(major(info.st_rdev));
  auto number_minor = static_cast<int64_t>(minor(info.st_rdev));
  const std::string& path =
      device.container_path.empty() ? device.host_path : device.container_path;
  devices.push_back(Value::object({{"path", path},
                                   {"type", type},
                                   {"major", number_major},
                                   {"minor", number_minor},
                                   {"fileMode", static_cast<int64_t>(info.st_mode & 07777)},
                                   {"uid", static_cast<int64_t>(info.st_uid)},
                                   {"gid", static_cast<int64_t>(info.st_gid)}}));
  rules.push_back(Value::object({{"allow", true},
                                 {"type", type},
                                 {"major", number_major},
                                 {"minor", number_minor},
                                 {"access", device.access}}));
  return ok();
}

// Every device node right below /dev but those that a container has of its own.
std::vector<SpecDevice> host_devices() {
  static const std::vector<std::string> kOwn = {"null",    "zero", "full",    "random",
                                                "urandom", "tty",  "console", "ptmx"};
  std::vector<SpecDevice> devices;
  for (const std::string& name : sys::list_dir("/dev").value_or(std::vector<std::string>{})) {
    std::string path = "/dev/" + name;
    auto info = sys::stat_path(path);
    if (!info || !(S_ISCHR(info->st_mode) || S_ISBLK(info->st_mode))) continue;
    if (std::find(kOwn.begin(), kOwn.end(), name) == kOwn.end()) devices.push_back({path, path});
  }
  return devices;
}

Value resources_value(const SpecOptions& options, Value device_rules) {
  Value resources = Value::object({{"devices", std::move(device_rules)}});
  if (options.memory_bytes != 0) {
    Value memory = Value::object({{"limit", options.memory_bytes}});
    if (options.memory_swap_bytes != 0) memory.set("swap", options.memory_swap_bytes);
    resources.set("memory", std::move(memory));
  }
  Value cpu = Value::object();
  if (options.cpus > 0) {
    cpu.set("period", kCpuPeriod);
    cpu.set("quota", static_cast<int64_t>(std::llround(options.cpus * double{kCpuPeriod})));
  }
  if (options.cpu_shares != 0) cpu.set("shares", options.cpu_shares);
  if (!options.cpuset_cpus.empty()) cpu.set("cpus", options.cpuset_cpus);
  if (!options.cpuset_mems.empty()) cpu.set("mems", options.cpuset_mems);
  if (cpu != Value::object()) resources.set("cpu", std::move(cpu));
  if (options.pids_limit != 0)
    resources.set("pids", Value::object({{"limit", options.pids_limit}}));
  return resources;
}

void hide_host(Value& linux_part) {
  linux_part.set("maskedPaths",
                 Value::array({"/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys",
                               "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
                               "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
                               "/sys/devices/virtual/powercap"}));
  linux_part.set("readonlyPaths", Value::array({"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                                                "/proc/sysrq-trigger"}));
}

Value sysctls_value(const SpecOptions& options) {
  Value sysctls = Value::object();
  if (options.network == NetworkMode::kNone) {
    // In a network of its own nobody else's ports are at stake.
    sysctls.set("net.ipv4.ip_unprivileged_port_start", "0");
    sysctls.set("net.ipv4.ping_group_range", "0 2147483647");
  }
  for (const auto& [key, value] : options.sysctls) sysctls.set(key, value);
  return sysctls;
}

Result<Value> linux_value(const SpecOptions& options, std::vector<std::string>& warnings) {
  Value devices = Value::array(), rules = Value::array();
  rules.push_back(Value::object({{"allow", options.privileged}, {"access", "rwm"}}));
  std::vector<SpecDevice> wanted = options.privileged ? host_devices() : std::vector<SpecDevice>{};
  wanted.insert(wanted.end(), options.devices.begin(), options.devices.end());
  for (const SpecDevice& device : wanted) SKIFF_TRY(add_device(device, devices, rules));

  Value part = Value::object({{"namespaces", namespaces_value(options)},
                              {"devices", std::move(devices)},
                              {"resources", resources_value(options, std::move(rules))},
                              {"sysctl", sysctls_value(options)}});
  if (!options.cgroup_path.empty()) part.set("cgroupsPath", options.cgroup_path);
  if (!options.privileged) hide_host(part);
  if (options.seccomp) {
    if (!options.seccomp->is_null()) part.set("seccomp", *options.seccomp);
  } else if (!options.privileged) {
    part.set("seccomp", default_seccomp(SKIFF_TRY(capabilities_of(options, warnings))));
  }
  return part;
}

}  // namespace

Result<Value> make_process(const SpecOptions& options, std::vector<std::string>& warnings) {
  SKIFF_TRY(check(options));
  User user = SKIFF_TRY(resolve_user(options.rootfs, options.user, options.additional_groups));
  Value names = Value::array(SKIFF_TRY(capabilities_of(options, warnings)));
  Value capabilities = Value::object({{"bounding", names}});
  // As after an execve by root or by another.
  if (user.uid == 0) {
    capabilities.set("effective", names);
    capabilities.set("permitted", std::move(names));
  }
  Value rlimits = Value::array();
  for (const SpecRlimit& wanted : options.rlimits) {
    SpecRlimit given = SKIFF_TRY(clamp_rlimit(HostLimits::here(), wanted, warnings));
    rlimits.push_back(
        Value::object({{"type", given.type}, {"soft", given.soft}, {"hard", given.hard}}));
  }
  Value process = Value::object(
      {{"terminal", options.terminal},
       {"user", user_value(user)},
       {"args", Value::array(options.args)},
       {"env", Value::array(complete_env(options, user))},
       {"cwd", options.cwd},
       {"capabilities", std::move(capabilities)},
       {"rlimits", std::move(rlimits)},
       {"noNewPrivileges", options.no_new_privileges},
       {"oomScoreAdj", clamp_oom_score(HostLimits::here(), options.oom_score_adj, warnings)}});
  if (options.terminal && options.rows != 0 && options.columns != 0)
    process.set("consoleSize",
                Value::object({{"height", options.rows}, {"width", options.columns}}));
  return process;
}

Result<Spec> make_spec(const SpecOptions& options) {
  Spec spec;
  Value process = SKIFF_TRY(make_process(options, spec.warnings));
  std::vector<std::string> said_already;
  Value linux_part = SKIFF_TRY(linux_value(options, said_already));
  Value annotations = Value::object();
  for (const auto& [key, value] : options.annotations) annotations.set(key, value);
  spec.config = Value::object({{"ociVersion", "1.0.2"},
                               {"process", std::move(process)},
                               {"root", Value::object({{"path", options.rootfs.string()},
                                                       {"readonly", options.read_only_root}})},
                               {"mounts", mounts_value(options)},
                               {"annotations", std::move(annotations)},
                               {"linux", std::move(linux_part)}});
  if (!options.host_uts && !options.hostname.empty()) spec.config.set("hostname", options.hostname);
  return spec;
}

Status apply_image(const oci::ImageConfig& image, const ProcessOverrides& overrides,
                   SpecOptions& options) {
  options.args = overrides.entrypoint ? *overrides.entrypoint : image.entrypoint;
  const auto& command =
      !overrides.command.empty() || overrides.entrypoint ? overrides.command : image.cmd;
  options.args.insert(options.args.end(), command.begin(), command.end());
  if (options.args.empty())
    return fail(Code::kInvalidArgument, "no command: the image has none, so say what to run");
  options.env = image.env;
  for (const std::string& entry : overrides.env) {
    std::string prefix = entry.substr(0, entry.find('=')) + "=";
    std::erase_if(options.env, [&](const std::string& old) { return old.starts_with(prefix); });
    if (entry.find('=') != std::string::npos) options.env.push_back(entry);
  }
  options.cwd = !overrides.working_dir.empty() ? overrides.working_dir
                : !image.working_dir.empty()   ? image.working_dir
                                               : "/";
  options.user = overrides.user.empty() ? image.user : overrides.user;
  return ok();
}

}  // namespace skiff::runtime
