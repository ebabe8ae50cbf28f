#include "sys/overlay_mount.h"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <thread>

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include "sys/mount.h"

namespace skiff::sys {
namespace {

constexpr size_t kConfigValue = 255;  // what fsconfig takes in one string
constexpr size_t kPage = 4096;        // what mount(2) takes in all, its end included

struct Overlay {
  std::vector<std::string> lowers;
  std::string upper;
  std::string work;
  std::vector<std::string> others;  // "index=off", "userxattr"
};

Overlay parse(const std::vector<std::string>& options) {
  Overlay overlay;
  for (const std::string& option : options) {
    std::string_view text = option;
    auto after = [&](std::string_view key) -> std::optional<std::string> {
      if (!text.starts_with(key)) return std::nullopt;
      return std::string(text.substr(key.size()));
    };
    if (auto lowers = after("lowerdir="))
      overlay.lowers = split_lowers(*lowers);
    else if (auto upper = after("upperdir="))
      overlay.upper = *upper;
    else if (auto work = after("workdir="))
      overlay.work = *work;
    else
      overlay.others.push_back(option);
  }
  return overlay;
}

// The file-system context keeps messages for whoever configured it: "e overlay: ...".
std::string kernel_says(int context) {
  char line[512];
  std::string all;
  for (int i = 0; i < 8; ++i) {
    ssize_t n = read(context, line, sizeof line);
    if (n <= 0) break;
    std::string_view text(line, static_cast<size_t>(n));
    if (text.size() > 2 && text[1] == ' ') text.remove_prefix(2);
    while (text.ends_with('\n')) text.remove_suffix(1);
    all.append(all.empty() ? "" : "; ").append(text);
  }
  return all;
}

std::unexpected<Error> config_error(int saved, int context, std::string_view what) {
  std::string reason = kernel_says(context);
  if (reason.empty()) return fail_errno(saved, "mount overlay: {}", what);
  return fail_errno(saved, "mount overlay: {}: {}", what, reason);
}

Result<UniqueFd> open_context() {
  UniqueFd context(fsopen("overlay", FSOPEN_CLOEXEC));
  if (!context) return fail_errno(errno, "fsopen overlay");
  return context;
}

bool fits(const std::string& path) { return path.size() <= kConfigValue; }

// A folder by its path, or by an fd where the path is longer than fsconfig takes.
Status set_folder(int context, const char* key, const std::string& path) {
  if (fits(path)) {
    if (fsconfig(context, FSCONFIG_SET_STRING, key, path.c_str(), 0) == 0) return ok();
    return config_error(errno, context, path);
  }
  UniqueFd folder = SKIFF_TRY(open_file(path, O_PATH | O_DIRECTORY));
  if (fsconfig(context, FSCONFIG_SET_FD, key, nullptr, folder.get()) == 0) return ok();
  return config_error(errno, context, path);
}

Status set_option(int context, const std::string& option) {
  size_t equals = option.find('=');
  int result = equals == std::string::npos
                   ? fsconfig(context, FSCONFIG_SET_FLAG, option.c_str(), nullptr, 0)
                   : fsconfig(context, FSCONFIG_SET_STRING, option.substr(0, equals).c_str(),
                              option.substr(equals + 1).c_str(), 0);
  return result == 0 ? ok() : config_error(errno, context, option);
}

// A mount that is attached nowhere yet.
Result<UniqueFd> detached(const std::string& source, const Overlay& overlay, unsigned attributes) {
  UniqueFd context = SKIFF_TRY(open_context());
  int fd = context.get();
  if (!source.empty()) SKIFF_TRY(set_option(fd, "source=" + source));
  for (const std::string& lower : overlay.lowers) SKIFF_TRY(set_folder(fd, "lowerdir+", lower));
  if (!overlay.upper.empty()) SKIFF_TRY(set_folder(fd, "upperdir", overlay.upper));
  if (!overlay.work.empty()) SKIFF_TRY(set_folder(fd, "workdir", overlay.work));
  for (const std::string& option : overlay.others) SKIFF_TRY(set_option(fd, option));
  if (fsconfig(fd, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0)
    return config_error(errno, fd, fmt::format("{} lower folders", overlay.lowers.size()));
  UniqueFd mount(fsmount(fd, FSMOUNT_CLOEXEC, attributes));
  if (!mount) return config_error(errno, fd, "fsmount");
  return mount;
}

unsigned attributes_of(unsigned long flags) {
  unsigned attributes = 0;
  if (flags & MS_RDONLY) attributes |= MOUNT_ATTR_RDONLY;
  if (flags & MS_NOSUID) attributes |= MOUNT_ATTR_NOSUID;
  if (flags & MS_NODEV) attributes |= MOUNT_ATTR_NODEV;
  if (flags & MS_NOEXEC) attributes |= MOUNT_ATTR_NOEXEC;
  if (flags & MS_NOATIME) attributes |= MOUNT_ATTR_NOATIME;
  if (flags & MS_STRICTATIME) attributes |= MOUNT_ATTR_STRICTATIME;
  if (flags & MS_NODIRATIME) attributes |= MOUNT_ATTR_NODIRATIME;
  return attributes;
}

Status mount_configured(const std::string& source, const Overlay& overlay, unsigned long flags,
                        const Path& target) {
  UniqueFd mount = SKIFF_TRY(detached(source, overlay, attributes_of(flags)));
  if (move_mount(mount.get(), "", AT_FDCWD, target.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0)
    return fail_errno(errno, "mount overlay at {}", target.string());
  return ok();
}

std::string escape(const std::string& path) {
  std::string out;
  for (char c : path) {
    if (c == ':' || c == ',' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

// The options of mount(2); paths below `base` relative to it.
std::string page_of(const Overlay& overlay, const Path& base) {
  auto name = [&](const std::string& path) {
    return escape(base.empty() ? path : Path(path).lexically_relative(base).string());
  };
  std::string data = "lowerdir=";
  for (size_t i = 0; i < overlay.lowers.size(); ++i)
    data += (i == 0 ? "" : ":") + name(overlay.lowers[i]);
  if (!overlay.upper.empty()) data += ",upperdir=" + name(overlay.upper);
  if (!overlay.work.empty()) data += ",workdir=" + name(overlay.work);
  for (const std::string& option : overlay.others) data += "," + option;
  return data;
}

Status mount_page(const std::string& source, const std::string& data, unsigned long flags,
                  const Path& target) {
  if (data.size() >= kPage)
    return fail(Code::kInvalidArgument,
                "mount overlay at {}: {} bytes of options do not fit a page", target.string(),
                data.size());
  const char* name = source.empty() ? "overlay" : source.c_str();
  if (::mount(name, target.c_str(), "overlay", flags, data.c_str()) != 0)
    return fail_errno(errno, "mount overlay at {}", target.string());
  return ok();
}

Path common_parent(const Overlay& overlay) {
  Path common = Path(overlay.lowers.front()).parent_path();
  auto holds = [&](const std::string& path) {
    auto relative = Path(path).lexically_relative(common);
    return !relative.empty() && *relative.begin() != "..";
  };
  for (const std::string& lower : overlay.lowers)
    while (!holds(lower) && common.has_relative_path()) common = common.parent_path();
  return common;
}

Status mount_relative(const std::string& source, const Overlay& overlay, unsigned long flags,
                      const Path& target) {
  if (overlay.lowers.empty())
    return fail(Code::kInvalidArgument, "an overlay needs a lower folder");
  Path base = common_parent(overlay);
  Path absolute = std::filesystem::absolute(target);
  std::string data = page_of(overlay, base);
  Status status;
  // The working directory belongs to the process unless a thread takes its own.
  std::thread([&] {
    if (unshare(CLONE_FS) != 0)
      status = fail_errno(errno, "unshare a working directory");
    else if (chdir(base.c_str()) != 0)
      status = fail_errno(errno, "go to {}", base.string());
    else
      status = mount_page(source, data, flags, absolute);
  }).join();
  return status;
}

bool kernel_has_lowerdir_plus() {
  static const bool has = [] {
    auto context = open_context();
    return context && fsconfig(context->get(), FSCONFIG_SET_STRING, "lowerdir+", "/", 0) == 0;
  }();
  return has;
}

}  // namespace

std::vector<std::string> split_lowers(const std::string& lowerdir) {
  std::vector<std::string> lowers(1);
  for (size_t i = 0; i < lowerdir.size(); ++i) {
    if (lowerdir[i] == '\\' && i + 1 < lowerdir.size())
      lowers.back() += lowerdir[++i];
    else if (lowerdir[i] == ':')
      lowers.emplace_back();
    else
      lowers.back() += lowerdir[i];
  }
  std::erase(lowers, "");
  return lowers;
}

Status mount_overlay_as(OverlayForm form, const std::string& source,
                        const std::vector<std::string>& options, unsigned long flags,
                        const Path& target) {
  Overlay overlay = parse(options);
  if (form == OverlayForm::kAuto) {
    if (kernel_has_lowerdir_plus()) {
      Status status = mount_configured(source, overlay, flags, target);
      // Before 6.13 a folder could not be named by an fd.
      bool long_path = !std::ranges::all_of(overlay.lowers, fits) || !fits(overlay.upper);
      if (status || !long_path) return status;
    }
    form = page_of(overlay, "").size() < kPage ? OverlayForm::kPage : OverlayForm::kRelative;
  }
  if (form == OverlayForm::kConfig) return mount_configured(source, overlay, flags, target);
  if (form == OverlayForm::kPage) return mount_page(source, page_of(overlay, ""), flags, target);
  return mount_relative(source, overlay, flags, target);
}

Status mount_overlay(const std::string& source, const std::vector<std::string>& options,
                     unsigned long flags, const Path& target) {
  return mount_overlay_as(OverlayForm::kAuto, source, options, flags, target);
}

Status probe_overlay(const Path& scratch, const std::vector<std::string>& options) {
  Path lower = scratch / "lower";
  for (const Path& folder : {lower, scratch / "upper", scratch / "work", scratch / "merged"})
    SKIFF_TRY(make_dirs(folder, 0700));
  SKIFF_TRY(write_file(lower / "hidden", ""));
  std::vector<std::string> all = {"lowerdir=" + escape(lower.string()),
                                  "upperdir=" + (scratch / "upper").string(),
                                  "workdir=" + (scratch / "work").string()};
  all.insert(all.end(), options.begin(), options.end());
  Status status = [&]() -> Status {
    UniqueFd mount;
    if (kernel_has_lowerdir_plus()) {
      mount = SKIFF_TRY(detached("", parse(all), 0));
    } else {
      SKIFF_TRY(mount_page("", page_of(parse(all), ""), 0, scratch / "merged"));
      mount = SKIFF_TRY(open_dir(scratch / "merged"));
      SKIFF_TRY(unmount(scratch / "merged", Unmount::kDetach));  // the fd keeps it
    }
    if (unlinkat(mount.get(), "hidden", 0) != 0)
      return fail_errno(errno, "delete a lower file through an overlay");
    if (faccessat(mount.get(), "hidden", F_OK, 0) == 0)
      return fail(Code::kUnimplemented, "an overlay here does not hide deleted files");
    return ok();
  }();
  for (const char* name : {"lower", "upper", "work", "merged"}) (void)remove_tree(scratch / name);
  return status;
}

}  // namespace skiff::sys
