#include "runtime/shim_manager.h"

#include <charconv>
#include <chrono>
#include <csignal>

#include <fcntl.h>
#include <sys/epoll.h>

#include "base/key_locks.h"
#include "base/log.h"
#include "base/version.h"
#include "runtime/ttrpc_shim.h"
#include "sys/cgroup.h"
#include "sys/event_loop.h"
#include "sys/mount.h"
#include "sys/process.h"
#include "sys/socket.h"

namespace skiff::runtime {
namespace {

constexpr int kListenerFd = 3;  // where the shim expects its socket
constexpr auto kHelloLimit = std::chrono::seconds(2);
constexpr auto kDeathLimit = std::chrono::seconds(5);

// "<pid> <start time> <version>": the start time tells the process from a later one of that pid.
struct ShimPid {
  int pid = 0;
  uint64_t start = 0;
};

std::optional<ShimPid> read_pid(const Bundle& bundle) {
  auto text = sys::read_file(bundle.shim_pid());
  if (!text) return {};
  ShimPid shim;
  const char* end = text->data() + text->size();
  auto pid = std::from_chars(text->data(), end, shim.pid);
  if (pid.ec != std::errc() || pid.ptr == end) return {};
  auto start = std::from_chars(pid.ptr + 1, end, shim.start);
  if (start.ec != std::errc() || shim.pid <= 1) return {};
  return shim;
}

// Ends the shim's process if it is still that one.
Status kill_shim(const Context& context, const Bundle& bundle) {
  auto shim = read_pid(bundle);
  if (!shim) return ok();
  auto pidfd = sys::open_pidfd(shim->pid);
  if (!pidfd) return ok();
  auto start = sys::process_start_time(shim->pid);
  if (!start || *start != shim->start) return ok();
  static_cast<void>(sys::send_signal(*pidfd, SIGKILL));
  return sys::wait_process(context.with_timeout(kDeathLimit), *pidfd);
}

// "program\nroot\n", as the shim wrote it before it made the container.
std::optional<std::pair<std::string, std::string>> read_runtime(const Bundle& bundle) {
  auto text = sys::read_file(bundle.runtime_file());
  if (!text) return {};
  size_t first = text->find('\n'), second = text->find('\n', first + 1);
  if (second == std::string::npos) return {};
  return std::pair(text->substr(0, first), text->substr(first + 1, second - first - 1));
}

// The runtime's own record of the container, its processes and its cgroup.
Status delete_container(const Context& context, const Bundle& bundle) {
  auto runtime = read_runtime(bundle);
  if (!runtime || !sys::path_exists(sys::Path(runtime->second) / bundle.id())) return ok();
  sys::SpawnOptions options;
  options.program = runtime->first;
  options.args = {runtime->first, "--root", runtime->second, "delete", "--force", bundle.id()};
  auto output = SKIFF_TRY(sys::run_program(context, options, 64 << 10));
  if (output.exit.status() != 0)
    return fail(Code::kInternal, "{} delete {}: {}", runtime->first, bundle.id(), output.err);
  return ok();
}

// What is left of the cgroup when the runtime no longer knew the container.
Status delete_cgroup(const sys::CgroupHost& host, const Bundle& bundle) {
  auto text = sys::read_file(bundle.config());
  auto config = text ? json::parse(*text) : Result<json::Value>(json::Value());
  const json::Value* path = config ? config->find({"linux", "cgroupsPath"}) : nullptr;
  auto cgroup = path ? path->as_string() : Result<std::string_view>("");
  if (!cgroup || cgroup->size() < 2) return ok();
  std::string name(*cgroup);
  bool there = false;
  for (const sys::Path& folder : host.folders(name)) there = there || sys::path_exists(folder);
  if (!there) return ok();
  SKIFF_TRY(sys::kill_cgroup(host, name));
  return sys::remove_cgroup(host, name);
}

class LocalShimManager : public ShimManager {
 public:
  LocalShimManager(ShimManagerOptions options, std::shared_ptr<sys::EventLoop> loop,
                   sys::CgroupHost cgroups)
      : options_(std::move(options)), loop_(std::move(loop)), cgroups_(std::move(cgroups)) {}

  Result<std::unique_ptr<Shim>> launch(const Context& context, const std::string& id) override;
  Result<std::unique_ptr<Shim>> adopt(const Context& context, const std::string& id) override;
  Status clean(const Context& context, const std::string& id) override;
  Result<std::vector<std::string>> list(const Context& context) override;
  Result<std::vector<std::string>> list_namespaces() override;
  Bundle bundle(const Context& context, const std::string& id) const override;
  Result<RuntimeInfo> runtime(const Context& context, const std::string& name) override;

 private:
  sys::Path bundles() const { return options_.state / "bundles"; }
  std::string runtime_root(const Context& context) const {
    return options_.state / "runtime" / context.name_space();
  }
  Status clean_locked(const Context& context, const Bundle& bundle);
  Status spawn_shim(const Context& context, const Bundle& bundle);
  std::unique_ptr<TtrpcShim> connected(const Context& context,
                                       std::shared_ptr<ttrpc::Client> client) {
    return std::make_unique<TtrpcShim>(std::move(client), runtime_root(context));
  }

  ShimManagerOptions options_;
  std::shared_ptr<sys::EventLoop> loop_;
  sys::CgroupHost cgroups_;
  KeyLocks locks_;  // by namespace/id; "" for the choice of the runtime
  Guarded<std::optional<RuntimeInfo>> chosen_;
};

Bundle LocalShimManager::bundle(const Context& context, const std::string& id) const {
  return {bundles() / context.name_space() / id, id};
}

Result<std::unique_ptr<Shim>> LocalShimManager::launch(const Context& context,
                                                       const std::string& id) {
  SKIFF_TRY(check_id(id));
  SKIFF_TRY(check_id(context.name_space()));
  Bundle bundle = this->bundle(context, id);
  auto held = locks_.lock(bundle.folder().string());
  if (sys::path_exists(bundle.folder())) {
    if (ttrpc::Client::connect(bundle.socket().string()))
      return fail(Code::kAlreadyExists, "container {} has a running shim", id);
    SKIFF_TRY_WRAP(clean_locked(context, bundle), "clear away what was left of {}", id);
  }
  SKIFF_TRY(bundle.make());
  Status spawned = spawn_shim(context, bundle);
  auto client =
      spawned ? ttrpc::Client::connect(bundle.socket().string()) : std::unexpected(spawned.error());
  if (client) return connected(context, std::move(*client));
  static_cast<void>(clean_locked(context.detached(), bundle));
  return std::unexpected(std::move(client).error().wrap("start a shim"));
}

Status LocalShimManager::spawn_shim(const Context& context, const Bundle& bundle) {
  sys::UniqueFd listener = SKIFF_TRY(sys::listen_unix(bundle.socket().string(), 0600));
  sys::UniqueFd null = SKIFF_TRY(sys::open_file("/dev/null", O_RDWR));
  sys::UniqueFd log =
      SKIFF_TRY(sys::open_file(bundle.shim_log(), O_WRONLY | O_CREAT | O_APPEND, 0600));
  sys::SpawnOptions spawn;
  spawn.program = options_.shim_program;
  spawn.args = {"skiff-shim", "-namespace", context.name_space(),
                "-id",        bundle.id(),  "-leave-when-idle"};
  if (!options_.shim_cgroup.empty())
    spawn.args.insert(spawn.args.end(), {"-cgroup", options_.shim_cgroup});
  spawn.args.emplace_back("serve");
  // Nothing of the daemon's environment is the container runtime's business.
  spawn.env = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"};
  spawn.cwd = bundle.folder();
  spawn.fds = {{null.get(), 0}, {null.get(), 1}, {log.get(), 2}, {listener.get(), kListenerFd}};
  spawn.new_session = true;
  sys::Child child = SKIFF_TRY(sys::spawn(spawn));
  uint64_t start = SKIFF_TRY(sys::process_start_time(child.pid));
  SKIFF_TRY(
      sys::write_file(bundle.shim_pid(), fmt::format("{} {} {}\n", child.pid, start, kVersion)));
  // The daemon is its parent for as long as it lives itself, and reaps it.
  auto fd = std::make_shared<sys::UniqueFd>(std::move(child.pidfd));
  auto token = std::make_shared<std::atomic<sys::EventLoop::Token>>(0);
  *token = SKIFF_TRY(
      loop_->add(fd->get(), EPOLLIN, [loop = loop_.get(), fd, token, pid = child.pid](uint32_t) {
        if (*token == 0) return;  // add has not returned yet; it stays ready
        static_cast<void>(sys::reap(pid));
        loop->remove(*token);
      }));
  return ok();
}

Result<std::unique_ptr<Shim>> LocalShimManager::adopt(const Context& context,
                                                      const std::string& id) {
  SKIFF_TRY(check_id(id));
  auto client = ttrpc::Client::connect(bundle(context, id).socket().string());
  if (!client) {
    bool none = client.error().is(Code::kNotFound) || client.error().sys_errno() == ECONNREFUSED;
    return std::unexpected(
        std::move(client).error().with_code(none ? Code::kNotFound : Code::kUnavailable));
  }
  auto shim = connected(context, std::move(*client));
  auto hello = SKIFF_TRY_WRAP(shim->hello(context.with_timeout(kHelloLimit)), "shim of {}", id);
  if (hello.protocol == 0 || hello.protocol > shim_api::kProtocolVersion)
    return fail(Code::kUnimplemented, "the shim of {} (version {}) speaks protocol {}, this is {}",
                id, hello.version, hello.protocol, shim_api::kProtocolVersion);
  return shim;
}

Status LocalShimManager::clean(const Context& context, const std::string& id) {
  SKIFF_TRY(check_id(id));
  Bundle bundle = this->bundle(context, id);
  auto held = locks_.lock(bundle.folder().string());
  return clean_locked(context, bundle);
}

Status LocalShimManager::clean_locked(const Context& context, const Bundle& bundle) {
  if (!sys::path_exists(bundle.folder())) return ok();
  SKIFF_TRY(kill_shim(context, bundle));
  SKIFF_TRY(delete_container(context, bundle));
  SKIFF_TRY(delete_cgroup(cgroups_, bundle));
  SKIFF_TRY(sys::unmount_all(bundle.folder()));
  return bundle.remove();
}

Result<std::vector<std::string>> LocalShimManager::list(const Context& context) {
  auto names = sys::list_dir(bundles() / context.name_space());
  if (!names && names.error().is(Code::kNotFound)) return std::vector<std::string>{};
  return names;
}

Result<std::vector<std::string>> LocalShimManager::list_namespaces() {
  auto names = sys::list_dir(bundles());
  if (!names && names.error().is(Code::kNotFound)) return std::vector<std::string>{};
  return names;
}

Result<RuntimeInfo> LocalShimManager::runtime(const Context& context, const std::string& name) {
  if (!name.empty() && name != options_.runtime) {
    std::string program = find_program(name);
    if (program.empty()) return fail(Code::kNotFound, "OCI runtime {:?} is not installed", name);
    return RuntimeInfo{sys::Path(program).filename().string(), program, "asked for by name", true};
  }
  auto held = locks_.lock("");
  if (auto known = *chosen_.lock()) return *known;
  auto info = SKIFF_TRY(choose_runtime(context, options_.runtime, options_.shim_program,
                                       options_.state / "runtime.json"));
  *chosen_.lock() = info;
  return info;
}

}  // namespace

Result<std::unique_ptr<ShimManager>> ShimManager::create(ShimManagerOptions options) {
  if (options.shim_program.empty()) {
    std::error_code error;
    auto self = std::filesystem::read_symlink("/proc/self/exe", error);
    options.shim_program = self.parent_path() / "skiff-shim";
  }
  if (::access(options.shim_program.c_str(), X_OK) != 0)
    return fail_errno(errno, "the shim's program {}", options.shim_program.native());
  SKIFF_TRY(sys::make_dirs(options.state, 0711));
  SKIFF_TRY(sys::make_dirs(options.state / "bundles", 0711));
  auto loop = SKIFF_TRY(sys::shared_event_loop());
  auto cgroups = SKIFF_TRY(sys::CgroupHost::detect());
  return std::make_unique<LocalShimManager>(std::move(options), std::move(loop),
                                            std::move(cgroups));
}

}  // namespace skiff::runtime
