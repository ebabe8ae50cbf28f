#include "bin/skiff-shim/bootstrap.h"

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>

#include <fcntl.h>
#include <unistd.h>

#include "base/random_id.h"
#include "base/version.h"
#include "bin/skiff-shim/oci_runtime.h"
#include "bin/skiff-shim/runtime_file.h"
#include "shim_api/task.h"
#include "sys/event_loop.h"
#include "sys/file.h"
#include "sys/mount.h"
#include "sys/process.h"
#include "sys/socket.h"

namespace skiff::shim {
namespace {

// containerd connects by path, so the whole of it must fit a socket address.
constexpr char kSocketFolder[] = "/run/containerd/s";

struct RuntimeVersion {
  std::string version, revision;
  template <class V>
  void fields(V& v) {
    v(1, version);
    v(2, revision);
  }
};
struct RuntimeInfo {
  std::string name;
  std::optional<RuntimeVersion> version;
  template <class V>
  void fields(V& v) {
    v(1, name);
    v(2, version);
  }
};

// The log FIFO of the bundle, which containerd reads; /dev/null where there is none.
Result<sys::UniqueFd> open_log() {
  auto log = sys::open_file("log", O_WRONLY | O_NONBLOCK);
  if (log) return log;
  return sys::open_file("/dev/null", O_WRONLY);
}

Status print(std::string_view bytes) { return sys::write_fd(STDOUT_FILENO, as_bytes(bytes)); }

}  // namespace

Status run_start(const Arguments& arguments) {
  if (arguments.id.empty()) return fail(Code::kInvalidArgument, "start needs -id");
  SKIFF_TRY(sys::make_dirs(kSocketFolder, 0711));
  std::string path = fmt::format("{}/skiff-{}", kSocketFolder, random_id(16));
  sys::UniqueFd listener = SKIFF_TRY(sys::listen_unix(path, 0600));
  sys::UniqueFd null = SKIFF_TRY(sys::open_file("/dev/null", O_RDWR));
  sys::UniqueFd log = SKIFF_TRY(open_log());

  sys::SpawnOptions options;
  std::error_code ignored;
  options.program = std::filesystem::read_symlink("/proc/self/exe", ignored).string();
  options.args = {options.program, "-namespace", arguments.name_space, "-id",
                  arguments.id,    "-address",   arguments.address,    "serve"};
  options.fds = {{null.get(), 0}, {null.get(), 1}, {log.get(), 2}, {listener.get(), kListenerFd}};
  options.new_session = true;
  auto child = sys::spawn(options);
  if (!child) {
    ::unlink(path.c_str());
    return std::unexpected(std::move(child).error());
  }
  std::string address = "unix://" + path;
  SKIFF_TRY(sys::write_file("address", address));
  SKIFF_TRY(sys::write_file("shim.pid", std::to_string(child->pid)));
  // Daemons that know more than one protocol say so, and read JSON.
  const char* max_version = std::getenv("MAX_SHIM_VERSION");
  if (max_version && std::atoi(max_version) >= 3)
    return print(fmt::format(R"({{"version":3,"address":"{}","protocol":"ttrpc"}})", address));
  return print(address);
}

Status run_delete(const Arguments& arguments) {
  if (arguments.id.empty()) return fail(Code::kInvalidArgument, "delete needs -id");
  std::string bundle =
      arguments.bundle.empty() ? std::filesystem::current_path().string() : arguments.bundle;
  RuntimeFile file = read_runtime_file(bundle).value_or(
      RuntimeFile{"runc", "/run/containerd/runc/" + arguments.name_space});
  sys::SpawnOptions options;
  options.program = find_program(file.program);
  options.args = {options.program, "--root", file.root, "delete", "--force", arguments.id};
  auto context = Context().with_timeout(std::chrono::seconds(30));
  // What is gone already is as good as deleted; containerd wants an answer either way.
  static_cast<void>(sys::run_program(context, options));
  static_cast<void>(sys::unmount_all(bundle + "/rootfs"));
  if (auto address = sys::read_file(bundle + "/address");
      address && address->starts_with("unix://"))
    ::unlink(address->c_str() + 7);
  shim_api::DeleteResponse response;
  response.exit_status = 128 + SIGKILL;
  response.exited_at = ttrpc::to_timestamp(std::chrono::system_clock::now());
  return print(ttrpc::encode(response));
}

Status run_info() {
  return print(ttrpc::encode(RuntimeInfo{"io.containerd.skiff.v2", RuntimeVersion{kVersion, ""}}));
}

}  // namespace skiff::shim
