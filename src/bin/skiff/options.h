// What the command line asks for, as plain values; args.cc fills them in.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace skiff::cli {

inline constexpr char kDefaultAddress[] = "/run/skiff/skiff.sock";

struct Global {
  std::string address = kDefaultAddress;
  std::string name_space = "default";
  bool json = false;
  bool debug = false;
};

struct RegistryOptions {
  bool plain_http = false;
  bool skip_verify = false;
};

struct PullOptions {
  std::vector<std::string> references;
  std::string platform, snapshotter, trace_file;
  RegistryOptions registry;
  bool remote = false, no_unpack = false, quiet = false;
  unsigned concurrency = 64;
};

struct PushOptions {
  std::string name, target, platform;
  RegistryOptions registry;
  bool all_platforms = false, quiet = false;
};

struct ImagesOptions {
  std::vector<std::string> filters;
  bool quiet = false, digests = false;
};

struct InspectOptions {
  std::vector<std::string> names;
  std::string platform;
};

struct TagOptions {
  std::string source, target;
};

struct RemoveOptions {
  std::vector<std::string> names;
  bool force = false;
};

struct SaveOptions {
  std::vector<std::string> names;
  std::string file, platform;
  bool oci = false;
};

struct LoadOptions {
  std::string file, name, platform, snapshotter;
  bool no_unpack = false, quiet = false;
};

struct LoginOptions {
  std::string host, username;
  bool password_stdin = false;
  RegistryOptions registry;
};

struct LogoutOptions {
  std::string host;
};

struct RunOptions {
  std::string image;
  std::vector<std::string> command;
  bool remove = false, interactive = false, tty = false, read_only = false, privileged = false,
       quiet = false;
  std::vector<std::string> env, env_files, volumes, tmpfs, labels, sysctls, cap_add, cap_drop,
      groups;
  std::string working_dir, user, network = "none", name, hostname, platform, pull = "missing",
                                 snapshotter, runtime, memory;
  std::optional<std::string> entrypoint;
  double cpus = 0;
  int64_t pids_limit = 0;
  RegistryOptions registry;
};

struct PsOptions {
  bool all = false, quiet = false;
};

struct RemoveContainersOptions {
  std::vector<std::string> ids;
  bool force = false;
};

struct LeasesOptions {
  std::vector<std::string> filters, remove;
};

struct FsckOptions {
  bool deep = false;
};

struct VersionOptions {
  bool client = false;
};

}  // namespace skiff::cli
