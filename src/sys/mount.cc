#include "sys/mount.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

#include <fcntl.h>
#include <sys/mount.h>

#include "sys/overlay_mount.h"

namespace skiff::sys {
namespace {

struct Flag {
  std::string_view name;
  unsigned long set;
  unsigned long clear;
};
constexpr Flag kFlags[] = {
    {"async", 0, MS_SYNCHRONOUS},
    {"atime", 0, MS_NOATIME},
    {"bind", MS_BIND, 0},
    {"defaults", 0, 0},
    {"dev", 0, MS_NODEV},
    {"diratime", 0, MS_NODIRATIME},
    {"dirsync", MS_DIRSYNC, 0},
    {"exec", 0, MS_NOEXEC},
    {"noatime", MS_NOATIME, 0},
    {"nodev", MS_NODEV, 0},
    {"nodiratime", MS_NODIRATIME, 0},
    {"noexec", MS_NOEXEC, 0},
    {"norelatime", 0, MS_RELATIME},
    {"nostrictatime", 0, MS_STRICTATIME},
    {"nosuid", MS_NOSUID, 0},
    {"rbind", MS_BIND | MS_REC, 0},
    {"relatime", MS_RELATIME, 0},
    {"remount", MS_REMOUNT, 0},
    {"ro", MS_RDONLY, 0},
    {"rw", 0, MS_RDONLY},
    {"strictatime", MS_STRICTATIME, 0},
    {"suid", 0, MS_NOSUID},
    {"sync", MS_SYNCHRONOUS, 0},
};
constexpr Flag kPropagation[] = {
    {"private", MS_PRIVATE, 0},
    {"rprivate", MS_PRIVATE | MS_REC, 0},
    {"rshared", MS_SHARED | MS_REC, 0},
    {"rslave", MS_SLAVE | MS_REC, 0},
    {"runbindable", MS_UNBINDABLE | MS_REC, 0},
    {"shared", MS_SHARED, 0},
    {"slave", MS_SLAVE, 0},
    {"unbindable", MS_UNBINDABLE, 0},
};

const Flag* find_flag(std::span<const Flag> flags, std::string_view name) {
  auto found = std::ranges::find(flags, name, &Flag::name);
  return found == flags.end() ? nullptr : &*found;
}

struct Parsed {
  unsigned long flags = 0;
  unsigned long propagation = 0;
  std::vector<std::string> data;  // for the file system
};

Parsed parse(const std::vector<std::string>& options) {
  Parsed parsed;
  for (const std::string& option : options) {
    if (const Flag* flag = find_flag(kFlags, option)) {
      parsed.flags = (parsed.flags & ~flag->clear) | flag->set;
    } else if (const Flag* propagation = find_flag(kPropagation, option)) {
      parsed.propagation = propagation->set;
    } else if (!option.empty()) {
      parsed.data.push_back(option);
    }
  }
  return parsed;
}

Status call_mount(const std::string& source, const Path& target, const char* type,
                  unsigned long flags, const std::string& data) {
  if (::mount(source.c_str(), target.c_str(), type, flags, data.empty() ? nullptr : data.c_str()) !=
      0)
    return fail_errno(errno, "mount {} at {}", source.empty() ? type : source, target.string());
  return ok();
}

// A bind mount takes its own flags only when it is mounted again.
Status bind_to(const std::string& source, const Path& target, const Parsed& parsed) {
  unsigned long recursive = (parsed.flags & MS_BIND) != 0 ? parsed.flags & MS_REC : +MS_REC;
  SKIFF_TRY(call_mount(source, target, nullptr, MS_BIND | recursive, ""));
  unsigned long own = parsed.flags & ~static_cast<unsigned long>(MS_BIND | MS_REC);
  if (own == 0) return ok();
  Status status = call_mount("", target, nullptr, MS_REMOUNT | MS_BIND | own, "");
  if (!status) (void)unmount(target, Unmount::kDetach);
  return status;
}

std::string join(const std::vector<std::string>& options) {
  std::string data;
  for (const std::string& option : options) data += (data.empty() ? "" : ",") + option;
  return data;
}

// mountinfo writes blanks and backslashes as \ and three octal digits.
std::string unescape(std::string_view text) {
  auto octal = [](char c) { return c >= '0' && c <= '7'; };
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && octal(text[i + 1]) && octal(text[i + 2]) &&
        octal(text[i + 3])) {
      out +=
          static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + text[i + 3] - '0');
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    size_t end = std::min(text.find(separator), text.size());
    if (end > 0) parts.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

// 36 35 98:0 /root /target rw,noatime shared:1 master:2 - ext4 /dev/sda rw
Result<MountInfo> parse_line(std::string_view line) {
  auto fields = split(line, ' ');
  auto dash = std::ranges::find(fields, std::string_view("-"));
  if (dash - fields.begin() < 6 || fields.end() - dash < 3)
    return fail(Code::kInvalidArgument, "no line of mountinfo: {}", line);
  MountInfo info;
  info.id = std::atoi(std::string(fields[0]).c_str());
  info.parent = std::atoi(std::string(fields[1]).c_str());
  info.device = fields[2];
  info.root = unescape(fields[3]);
  info.target = unescape(fields[4]);
  info.options = fields[5];
  for (auto field = fields.begin() + 6; field != dash; ++field)
    info.propagation.append(info.propagation.empty() ? "" : " ").append(*field);
  info.type = unescape(dash[1]);
  // An empty source shows as two blanks in a row, so the options may come one field early.
  bool source = fields.end() - dash > 3;
  if (source) info.source = unescape(dash[2]);
  info.super_options = unescape(dash[source ? 3 : 2]);
  return info;
}

bool is_below(std::string_view path, std::string_view folder) {
  if (!path.starts_with(folder)) return false;
  return path.size() == folder.size() || folder.ends_with('/') || path[folder.size()] == '/';
}

}  // namespace

Status mount(const std::string& type, const std::string& source,
             const std::vector<std::string>& options, const Path& target) {
  Parsed parsed = parse(options);
  Status status;
  if (type == "bind" || (parsed.flags & MS_BIND) != 0) {
    status = bind_to(source, target, parsed);
  } else if (type == "overlay") {
    status = mount_overlay(source, parsed.data, parsed.flags, target);
  } else {
    status = call_mount(source, target, type.c_str(), parsed.flags, join(parsed.data));
  }
  if (!status || parsed.propagation == 0) return status;
  status = call_mount("", target, nullptr, parsed.propagation, "");
  if (!status) (void)unmount(target, Unmount::kDetach);
  return status;
}

Status unmount(const Path& target, Unmount how) {
  int flags = UMOUNT_NOFOLLOW | (how == Unmount::kDetach ? MNT_DETACH : 0);
  if (umount2(target.c_str(), flags) == 0 || errno == EINVAL || errno == ENOENT) return ok();
  return fail_errno(errno, "unmount {}", target.string());
}

Status unmount_all(const Path& target, Unmount how) {
  auto mounts = SKIFF_TRY(mounts_below(target));
  for (auto info = mounts.rbegin(); info != mounts.rend(); ++info)
    SKIFF_TRY(unmount(info->target, how));
  return ok();
}

Result<Path> mount_point(const Path& root, const std::string& target) {
  if (target.empty() || target == "/") return root;
  UniqueFd base = SKIFF_TRY(open_dir(root));
  UniqueFd fd = SKIFF_TRY(open_confined(base.get(), target, O_PATH, Confine::kInRoot));
  // The resolved name, without links.
  std::string name(PATH_MAX, '\0');
  ssize_t n = readlink(fmt::format("/proc/self/fd/{}", fd.get()).c_str(), name.data(), name.size());
  if (n < 0) return fail_errno(errno, "read where {} is", target);
  name.resize(static_cast<size_t>(n));
  return Path(name);
}

Status bind_mount(const Path& source, const Path& target, bool read_only) {
  std::vector<std::string> options = {"rbind"};
  if (read_only) options.push_back("ro");
  return sys::mount("bind", source.string(), options, target);
}

Status remount_read_only(const Path& target) {
  return call_mount("", target, nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, "");
}

Status make_private(const Path& target) {
  return call_mount("", target, nullptr, MS_PRIVATE | MS_REC, "");
}

Status mount_tmpfs(const Path& target, const std::vector<std::string>& options) {
  return sys::mount("tmpfs", "tmpfs", options, target);
}

Result<std::vector<MountInfo>> parse_mountinfo(std::string_view text) {
  std::vector<MountInfo> mounts;
  for (std::string_view line : split(text, '\n')) mounts.push_back(SKIFF_TRY(parse_line(line)));
  return mounts;
}

Result<std::vector<MountInfo>> list_mounts() {
  std::string text = SKIFF_TRY(read_file("/proc/thread-self/mountinfo"));
  return parse_mountinfo(text);
}

Result<std::vector<MountInfo>> mounts_below(const Path& folder) {
  std::error_code error;
  std::string real = std::filesystem::weakly_canonical(folder, error).string();
  if (error) real = folder.string();
  auto mounts = SKIFF_TRY(list_mounts());
  std::erase_if(mounts, [&](const MountInfo& info) { return !is_below(info.target, real); });
  return mounts;
}

}  // namespace skiff::sys
