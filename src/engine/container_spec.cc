#include "engine/container_spec.h"

#include <algorithm>
#include <cctype>

#include "oci/descriptor.h"
#include "runtime/bundle.h"
#include "sys/file.h"

namespace skiff::engine {
namespace {

Status check_name(const std::string& name) {
  auto plain = [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '.' || c == '-'; };
  if (name.size() < 2 || name.size() > 128 || !std::isalnum(static_cast<unsigned char>(name[0])) ||
      !std::ranges::all_of(name, plain))
    return fail(Code::kInvalidArgument,
                "name \"{}\": give 2 to 128 of [a-zA-Z0-9_.-], a letter or digit first", name);
  return ok();
}

Status check_mount(const Mount& mount) {
  if (!mount.target.starts_with('/'))
    return fail(Code::kInvalidArgument, "mount target \"{}\" is no absolute path", mount.target);
  if (mount.type == MountType::kBind && !mount.source.starts_with('/'))
    return fail(Code::kInvalidArgument, "mount source \"{}\" (of {}) is no absolute path",
                mount.source, mount.target);
  return ok();
}

Result<runtime::SpecMount> spec_mount(const Mount& mount) {
  runtime::SpecMount out{.target = mount.target, .options = mount.options};
  if (mount.type == MountType::kTmpfs) {
    out.type = out.source = "tmpfs";
    out.options.insert(out.options.begin(), {"nosuid", "nodev", "noexec"});
  } else {
    out.type = "bind";
    out.source = mount.source;
    out.options.insert(out.options.begin(), "rbind");
    if (mount.create_source && !sys::path_exists(mount.source))
      SKIFF_TRY(sys::make_dirs(mount.source));
    if (!sys::path_exists(mount.source))
      return fail(Code::kInvalidArgument, "mount source {} does not exist", mount.source);
  }
  if (mount.read_only) out.options.push_back("ro");
  return out;
}

// What a container in the host's network needs to find names as the host does.
void add_host_files(std::vector<runtime::SpecMount>& mounts) {
  for (const char* file : {"/etc/resolv.conf", "/etc/hosts"}) {
    bool given =
        std::ranges::any_of(mounts, [&](const auto& mount) { return mount.target == file; });
    if (!given && sys::path_exists(file))
      mounts.push_back({"bind", file, file, {"rbind", "ro", "nosuid", "nodev", "noexec"}});
  }
}

}  // namespace

Status check_spec(const ContainerSpec& spec) {
  if (!spec.id.empty()) SKIFF_TRY(runtime::check_id(spec.id));
  if (!spec.name.empty()) SKIFF_TRY(check_name(spec.name));
  if (spec.image.empty()) return fail(Code::kInvalidArgument, "no image given");
  if (!spec.working_dir.empty() && !spec.working_dir.starts_with('/'))
    return fail(Code::kInvalidArgument, "working directory \"{}\" is no absolute path",
                spec.working_dir);
  if (spec.cpus < 0) return fail(Code::kInvalidArgument, "cpus {} is less than none", spec.cpus);
  for (const Mount& mount : spec.mounts) SKIFF_TRY(check_mount(mount));
  return ok();
}

Status inherit(const oci::ImageConfig& image, Record& record) {
  const ContainerSpec& spec = record.spec;
  runtime::SpecOptions merged;
  SKIFF_TRY(runtime::apply_image(image,
                                 {.entrypoint = spec.entrypoint,
                                  .command = spec.command,
                                  .env = spec.env,
                                  .working_dir = spec.working_dir,
                                  .user = spec.user},
                                 merged));
  record.arguments = std::move(merged.args);
  record.env = std::move(merged.env);
  record.working_dir = std::move(merged.cwd);
  record.user = std::move(merged.user);
  return ok();
}

Result<runtime::SpecOptions> spec_options(const Record& record, const std::string& cgroup_parent) {
  const ContainerSpec& spec = record.spec;
  runtime::SpecOptions options{.id = record.id,
                               .read_only_root = spec.read_only,
                               .args = record.arguments,
                               .env = record.env,
                               .cwd = record.working_dir,
                               .user = record.user,
                               .additional_groups = spec.additional_groups,
                               .terminal = spec.tty,
                               .hostname = spec.hostname,
                               .privileged = spec.privileged,
                               .cap_add = spec.cap_add,
                               .cap_drop = spec.cap_drop,
                               .sysctls = spec.sysctls,
                               .cgroup_path = cgroup_parent + "/" + record.id,
                               .memory_bytes = spec.memory_bytes,
                               .cpus = spec.cpus,
                               .pids_limit = spec.pids_limit};
  if (options.hostname.empty()) options.hostname = record.id.substr(0, 12);
  for (const Mount& mount : spec.mounts) options.mounts.push_back(SKIFF_TRY(spec_mount(mount)));
  if (spec.network == Network::kHost) {
    options.network = runtime::NetworkMode::kHost;
    options.host_uts = spec.hostname.empty();
    if (options.host_uts) options.hostname.clear();
    add_host_files(options.mounts);
  }
  return options;
}

}  // namespace skiff::engine
