#include "bin/skiff-shim/oci_runtime.h"

#include <atomic>
#include <charconv>

#include <fcntl.h>

#include "codec/json/json.h"
#include "sys/file.h"

namespace skiff::shim {
namespace {

std::string unique_suffix() {
  static std::atomic<unsigned> counter = 0;
  return std::to_string(counter++);
}

// A file that goes with its scope.
class Scratch {
 public:
  explicit Scratch(std::string path) : path_(std::move(path)) {}
  ~Scratch() { ::unlink(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace

std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  const char* path = std::getenv("PATH");
  std::string_view folders =
      path && *path ? path : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin";
  for (std::string_view extra : {folders, std::string_view("/usr/local/sbin:/usr/sbin:/sbin")}) {
    while (!extra.empty()) {
      size_t end = std::min(extra.find(':'), extra.size());
      std::string candidate = fmt::format("{}/{}", extra.substr(0, end), name);
      if (::access(candidate.c_str(), X_OK) == 0) return candidate;
      extra.remove_prefix(std::min(end + 1, extra.size()));
    }
  }
  return name;
}

std::string last_error(std::string_view log) {
  std::string message;
  while (!log.empty()) {
    size_t end = std::min(log.find('\n'), log.size());
    auto line = json::parse(log.substr(0, end));
    log.remove_prefix(std::min(end + 1, log.size()));
    if (!line) continue;
    auto level = line->get_string("level", "");
    auto text = line->get_string("msg", "");
    if (level && text && (*level == "error" || *level == "fatal") && !text->empty())
      message = *text;
  }
  return message;
}

OciRuntime::OciRuntime(Reaper& reaper, Options options, std::string bundle)
    : reaper_(reaper), options_(std::move(options)), bundle_(std::move(bundle)) {
  options_.program = find_program(options_.program.empty() ? "runc" : options_.program);
}

Status OciRuntime::run(const Context& context, std::vector<std::string> arguments,
                       const RuntimeStdio& stdio) {
  std::string action = arguments.front();
  Scratch log(fmt::format("{}/log-{}.json", bundle_, unique_suffix()));
  std::vector<std::string> args = {options_.program};
  if (!options_.root.empty()) args.insert(args.end(), {"--root", options_.root});
  args.insert(args.end(), {"--log", log.path(), "--log-format", "json"});
  if (options_.systemd_cgroup) args.emplace_back("--systemd-cgroup");
  args.insert(args.end(), arguments.begin(), arguments.end());
  sys::UniqueFd null = SKIFF_TRY(sys::open_file("/dev/null", O_RDWR));
  auto or_null = [&](int fd) { return fd >= 0 ? fd : null.get(); };
  sys::SpawnOptions options;
  options.program = options_.program;
  options.args = std::move(args);
  options.fds = {{or_null(stdio.in), 0}, {or_null(stdio.out), 1}, {or_null(stdio.err), 2}};
  auto exit = reaper_.run(context, options);
  if (!exit)
    return std::unexpected(std::move(exit)
                               .error()
                               .wrap("the OCI runtime")
                               .with_code(exit.error().is(Code::kNotFound)
                                              ? Code::kFailedPrecondition
                                              : exit.error().code()));
  if (exit->code == 0) return ok();
  std::string message = last_error(sys::read_file(log.path()).value_or(""));
  if (message.empty())
    message = fmt::format("{} {} ended with {}", options_.program, action, exit->code);
  return fail(Code::kFailedPrecondition, "{}", message);
}

Result<int> OciRuntime::run_for_pid(const Context& context, std::vector<std::string> arguments,
                                    const std::string& id, const std::string& pid_file,
                                    const RuntimeStdio& stdio) {
  Scratch scratch(pid_file);
  arguments.insert(arguments.end(), {"--pid-file", pid_file});
  if (!stdio.console_socket.empty())
    arguments.insert(arguments.end(), {"--console-socket", stdio.console_socket});
  arguments.push_back(id);
  SKIFF_TRY(run(context, std::move(arguments), stdio));
  std::string text = SKIFF_TRY(sys::read_file(pid_file));
  int pid = 0;
  std::from_chars(text.data(), text.data() + text.size(), pid);
  if (pid <= 0) return fail(Code::kInternal, "the OCI runtime wrote {:?} as a pid", text);
  return pid;
}

Result<int> OciRuntime::create(const Context& context, const std::string& id,
                               const RuntimeStdio& stdio, bool start) {
  std::vector<std::string> arguments = {start ? "run" : "create"};
  if (start) arguments.emplace_back("--detach");
  arguments.insert(arguments.end(), {"--bundle", bundle_});
  return run_for_pid(context, std::move(arguments), id, bundle_ + "/init.pid", stdio);
}

Status OciRuntime::start(const Context& context, const std::string& id) {
  return run(context, {"start", id});
}

Result<int> OciRuntime::exec(const Context& context, const std::string& id,
                             const std::string& exec_id, const std::string& process_json,
                             const RuntimeStdio& stdio) {
  Scratch process(fmt::format("{}/exec-{}.json", bundle_, exec_id));
  SKIFF_TRY(sys::write_file(process.path(), process_json, 0600));
  return run_for_pid(context, {"exec", "--detach", "--process", process.path()}, id,
                     fmt::format("{}/exec-{}.pid", bundle_, exec_id), stdio);
}

Status OciRuntime::remove(const Context& context, const std::string& id, bool force) {
  Status removed = run(context, force ? std::vector<std::string>{"delete", "--force", id}
                                      : std::vector<std::string>{"delete", id});
  if (!removed && removed.error().message().find("does not exist") != std::string::npos)
    return ok();
  return removed;
}

Status OciRuntime::pause(const Context& context, const std::string& id) {
  return run(context, {"pause", id});
}

Status OciRuntime::resume(const Context& context, const std::string& id) {
  return run(context, {"resume", id});
}

Status OciRuntime::update(const Context& context, const std::string& id,
                          const std::string& resources_json) {
  Scratch resources(fmt::format("{}/update-{}.json", bundle_, unique_suffix()));
  SKIFF_TRY(sys::write_file(resources.path(), resources_json, 0600));
  return run(context, {"update", "--resources", resources.path(), id});
}

}  // namespace skiff::shim
