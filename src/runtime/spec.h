// The OCI runtime spec (config.json) of a container, with the defaults that users of Docker and
// containerd expect: capabilities, seccomp, masked and read-only paths, mounts, devices.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "codec/json/json.h"
#include "sys/file.h"

namespace skiff::oci {
struct ImageConfig;
}

namespace skiff::runtime {

struct SpecMount {
  std::string type;  // "bind", "tmpfs", ...
  std::string source, target;
  std::vector<std::string> options;
};

struct SpecRlimit {
  std::string type;  // "RLIMIT_NOFILE"
  uint64_t soft = 0, hard = 0;
};

struct SpecDevice {
  std::string host_path, container_path;
  std::string access = "rwm";
};

enum class NetworkMode {
  kNone,  // a namespace of its own, with loopback only
  kHost,
  kPath,  // SpecOptions::network_path
};

struct SpecOptions {
  std::string id;
  sys::Path rootfs;  // the root file system, mounted: users are looked up in it
  bool read_only_root = false;

  std::vector<std::string> args;  // must not be empty
  std::vector<std::string> env;   // PATH, HOSTNAME and TERM are added where they lack
  std::string cwd = "/";          // absolute
  std::string user;               // see user.h
  std::vector<std::string> additional_groups;
  bool terminal = false;
  uint32_t rows = 0, columns = 0;
  std::string hostname;

  bool privileged = false;
  std::vector<std::string> cap_add, cap_drop;  // "NET_ADMIN", "CAP_NET_ADMIN" or "ALL"
  bool no_new_privileges = false;
  // Unset: the default profile. Null: unconfined. Else an OCI linux.seccomp object.
  std::optional<json::Value> seccomp;
  bool host_pid = false, host_ipc = false, host_uts = false;
  NetworkMode network = NetworkMode::kNone;
  std::string network_path;

  std::vector<SpecMount> mounts;
  std::vector<SpecDevice> devices;
  std::map<std::string, std::string> sysctls;
  std::map<std::string, std::string> annotations;
  uint64_t shm_bytes = 64 << 20;

  std::string cgroup_path;        // absolute; cgroupfs driver
  uint64_t memory_bytes = 0;      // limits: 0 is none
  int64_t memory_swap_bytes = 0;  // memory and swap together; -1: unlimited
  double cpus = 0;
  uint64_t cpu_shares = 0;
  std::string cpuset_cpus, cpuset_mems;
  int64_t pids_limit = 0;
  std::vector<SpecRlimit> rlimits;
  std::optional<int> oom_score_adj;
};

struct Spec {
  json::Value config;
  // What had to be weaker than asked, for the user to see: an rlimit or OOM score clamped to what
  // this host allows.
  std::vector<std::string> warnings;
};

// InvalidArgument names the field and its value.
Result<Spec> make_spec(const SpecOptions& options);

// A further process (exec) in a container made with `options`, as OCI's process object. Its user
// defaults to the container's.
Result<json::Value> make_process(const SpecOptions& options, std::vector<std::string>& warnings);

// Args, env, cwd and user that a container inherits from its image. An entrypoint given by the user
// drops the image's command, as Docker does; env entries "K=V" replace, "K" alone removes.
struct ProcessOverrides {
  std::optional<std::vector<std::string>> entrypoint;
  std::vector<std::string> command;
  std::vector<std::string> env;
  std::string working_dir;
  std::string user;
};
// InvalidArgument when nothing says what to run.
Status apply_image(const oci::ImageConfig& image, const ProcessOverrides& overrides,
                   SpecOptions& options);

// The default seccomp profile for a container with these capabilities ("CAP_..."): an allow-list;
// what is not on it fails with EPERM, clone3 with ENOSYS so that libc falls back to clone.
json::Value default_seccomp(const std::vector<std::string>& capabilities);
// The fourteen that Docker and containerd grant.
const std::vector<std::string>& default_capabilities();
// `base` with add and drop applied ("ALL" is known); sorted by the kernel's numbers.
Result<std::vector<std::string>> adjust_capabilities(const std::vector<std::string>& base,
                                                     const std::vector<std::string>& add,
                                                     const std::vector<std::string>& drop);

}  // namespace skiff::runtime
