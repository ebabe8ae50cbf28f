#include "runtime/probe.h"

#include <chrono>

#include <fcntl.h>

#include "base/log.h"
#include "base/random_id.h"
#include "codec/json/json.h"
#include "runtime/bundle.h"
#include "runtime/spec.h"
#include "sys/mount.h"
#include "sys/process.h"

namespace skiff::runtime {
namespace {

constexpr auto kTrialLimit = std::chrono::seconds(20);

// A root file system with nothing but the program; its libraries, should it have any, are the
// host's.
Result<Bundle> make_trial(const sys::Path& probe_binary, const sys::Path& scratch,
                          const std::string& id) {
  Bundle bundle(scratch / id, id);
  SKIFF_TRY(bundle.make());
  auto binary = SKIFF_TRY(sys::read_file(probe_binary));
  SKIFF_TRY(sys::write_file(bundle.rootfs() / "probe", binary, 0755));
  SpecOptions options;
  options.id = id;
  options.rootfs = bundle.rootfs();
  options.args = {"/probe", "-v"};
  options.cgroup_path = "/" + id;
  for (const char* folder : {"/usr", "/lib", "/lib64"})
    if (sys::path_exists(folder))
      options.mounts.push_back({"bind", folder, folder, {"rbind", "ro"}});
  SKIFF_TRY(bundle.write_config(SKIFF_TRY(make_spec(options)).config));
  return bundle;
}

Result<std::string> run_trial(const Context& context, const std::string& program,
                              const Bundle& bundle, const sys::Path& root) {
  auto run = [&](std::vector<std::string> action) -> Result<sys::Output> {
    sys::SpawnOptions options;
    options.program = program;
    options.args = {program, "--root", root.string()};
    options.args.insert(options.args.end(), action.begin(), action.end());
    sys::UniqueFd null = SKIFF_TRY(sys::open_file("/dev/null", O_RDWR));
    options.fds = {{null.get(), 0}};
    return sys::run_program(context, options, 64 << 10);
  };
  auto output = run({"run", "--bundle", bundle.folder().string(), bundle.id()});
  if (!output || output->exit.status() != 0)
    static_cast<void>(run({"delete", "--force", bundle.id()}));
  if (!output) return std::unexpected(std::move(output).error());
  if (output->exit.status() == 0) return "ran a container";
  std::string words = output->err.empty() ? output->out : output->err;
  while (!words.empty() && words.back() == '\n') words.pop_back();
  return fail(Code::kFailedPrecondition, "{}", words.substr(words.rfind('\n') + 1));
}

// What makes one program's trial count for it again.
std::string identity(const std::string& program) {
  auto info = sys::stat_path(program);
  if (!info) return {};
  return fmt::format("{} {} {} {}.{} {}", program, info->st_ino, info->st_size,
                     info->st_mtim.tv_sec, info->st_mtim.tv_nsec, sys::boot_id().value_or(""));
}

std::optional<RuntimeInfo> read_cache(const sys::Path& cache, const std::string& wanted) {
  auto text = sys::read_file(cache);
  auto entry = text ? json::parse(*text) : Result<json::Value>(json::Value());
  if (!entry) return {};
  auto field = [&](const char* key) { return entry->get_string(key, "").value_or(""); };
  RuntimeInfo info{field("name"), field("program"), field("reason"), true};
  if (field("wanted") != wanted || info.program.empty() ||
      field("identity") != identity(info.program))
    return {};
  return info;
}

void write_cache(const sys::Path& cache, const std::string& wanted, const RuntimeInfo& info) {
  json::Value entry = json::Value::object({{"wanted", wanted},
                                           {"name", info.name},
                                           {"program", info.program},
                                           {"reason", info.reason},
                                           {"identity", identity(info.program)}});
  // Without a cache the next start tries again.
  static_cast<void>(sys::write_file(cache, json::dump(entry) + "\n"));
}

}  // namespace

std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return ::access(name.c_str(), X_OK) == 0 ? name : "";
  const char* path = std::getenv("PATH");
  std::string folders = fmt::format(
      "{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", path ? path : "");
  for (size_t at = 0; at < folders.size();) {
    size_t end = std::min(folders.find(':', at), folders.size());
    std::string candidate = folders.substr(at, end - at) + "/" + name;
    if (end > at && ::access(candidate.c_str(), X_OK) == 0) return candidate;
    at = end + 1;
  }
  return {};
}

RuntimeInfo try_runtime(const Context& context, const std::string& program,
                        const sys::Path& probe_binary, const sys::Path& scratch) {
  RuntimeInfo info{sys::Path(program).filename().string(), program, "", false};
  std::string id = "skiff-probe-" + random_id(6);
  auto bounded = context.with_timeout(kTrialLimit);
  auto bundle = make_trial(probe_binary, scratch, id);
  Result<std::string> result = bundle ? run_trial(bounded, program, *bundle, scratch / id / "state")
                                      : std::unexpected(bundle.error());
  info.works = result.has_value();
  info.reason = result ? *result : result.error().message();
  static_cast<void>(sys::unmount_all(scratch / id));
  static_cast<void>(sys::remove_tree(scratch / id));
  return info;
}

Result<RuntimeInfo> choose_runtime(const Context& context, const std::string& wanted,
                                   const sys::Path& probe_binary, const sys::Path& cache) {
  if (auto known = read_cache(cache, wanted)) return *known;
  std::string tried;
  auto candidates =
      wanted.empty() ? std::vector<std::string>{"runc", "crun"} : std::vector<std::string>{wanted};
  for (const std::string& name : candidates) {
    std::string program = find_program(name);
    RuntimeInfo info{name, program, "not installed", false};
    if (!program.empty()) info = try_runtime(context, program, probe_binary, cache.parent_path());
    if (info.works) {
      log::info("chose the OCI runtime", {{"name", info.name},
                                          {"program", info.program},
                                          {"reason", info.reason},
                                          {"refused", tried}});
      write_cache(cache, wanted, info);
      return info;
    }
    log::warning("an OCI runtime does not work here", {{"name", name}, {"reason", info.reason}});
    tried += fmt::format("{}{}: {}", tried.empty() ? "" : "; ", name, info.reason);
  }
  SKIFF_TRY(context.check());
  return fail(Code::kNotFound, "no OCI runtime works here ({}): install runc", tried);
}

}  // namespace skiff::runtime
