#include <algorithm>
#include <iterator>

#include "runtime/spec.h"

namespace skiff::runtime {
namespace {

// In the order of the kernel's numbers (linux/capability.h).
constexpr std::string_view kCapabilities[] = {"CAP_CHOWN",
                                              "CAP_DAC_OVERRIDE",
                                              "CAP_DAC_READ_SEARCH",
                                              "CAP_FOWNER",
                                              "CAP_FSETID",
                                              "CAP_KILL",
                                              "CAP_SETGID",
                                              "CAP_SETUID",
                                              "CAP_SETPCAP",
                                              "CAP_LINUX_IMMUTABLE",
                                              "CAP_NET_BIND_SERVICE",
                                              "CAP_NET_BROADCAST",
                                              "CAP_NET_ADMIN",
                                              "CAP_NET_RAW",
                                              "CAP_IPC_LOCK",
                                              "CAP_IPC_OWNER",
                                              "CAP_SYS_MODULE",
                                              "CAP_SYS_RAWIO",
                                              "CAP_SYS_CHROOT",
                                              "CAP_SYS_PTRACE",
                                              "CAP_SYS_PACCT",
                                              "CAP_SYS_ADMIN",
                                              "CAP_SYS_BOOT",
                                              "CAP_SYS_NICE",
                                              "CAP_SYS_RESOURCE",
                                              "CAP_SYS_TIME",
                                              "CAP_SYS_TTY_CONFIG",
                                              "CAP_MKNOD",
                                              "CAP_LEASE",
                                              "CAP_AUDIT_WRITE",
                                              "CAP_AUDIT_CONTROL",
                                              "CAP_SETFCAP",
                                              "CAP_MAC_OVERRIDE",
                                              "CAP_MAC_ADMIN",
                                              "CAP_SYSLOG",
                                              "CAP_WAKE_ALARM",
                                              "CAP_BLOCK_SUSPEND",
                                              "CAP_AUDIT_READ",
                                              "CAP_PERFMON",
                                              "CAP_BPF",
                                              "CAP_CHECKPOINT_RESTORE"};

// The number of "net_admin", "NET_ADMIN" or "CAP_NET_ADMIN".
Result<size_t> number_of(const std::string& name) {
  std::string upper = name;
  for (char& c : upper) c = static_cast<char>(toupper(static_cast<unsigned char>(c)));
  if (!upper.starts_with("CAP_")) upper.insert(0, "CAP_");
  auto found = std::find(std::begin(kCapabilities), std::end(kCapabilities), upper);
  if (found == std::end(kCapabilities))
    return fail(Code::kInvalidArgument, "capability {:?} does not exist", name);
  return static_cast<size_t>(found - std::begin(kCapabilities));
}

bool is_all(const std::string& name) { return name == "ALL" || name == "all" || name == "CAP_ALL"; }

}  // namespace

const std::vector<std::string>& default_capabilities() {
  static const std::vector<std::string> kDefault = {
      "CAP_CHOWN",       "CAP_DAC_OVERRIDE", "CAP_FOWNER",
      "CAP_FSETID",      "CAP_KILL",         "CAP_SETGID",
      "CAP_SETUID",      "CAP_SETPCAP",      "CAP_NET_BIND_SERVICE",
      "CAP_NET_RAW",     "CAP_SYS_CHROOT",   "CAP_MKNOD",
      "CAP_AUDIT_WRITE", "CAP_SETFCAP"};
  return kDefault;
}

Result<std::vector<std::string>> adjust_capabilities(const std::vector<std::string>& base,
                                                     const std::vector<std::string>& add,
                                                     const std::vector<std::string>& drop) {
  bool has[std::size(kCapabilities)] = {};
  auto set_all = [&](bool value) { std::fill(std::begin(has), std::end(has), value); };
  for (const std::string& name : base) has[SKIFF_TRY(number_of(name))] = true;
  // "ALL" first, so that `--cap-drop ALL --cap-add CHOWN` and the reverse mean what they say.
  if (std::any_of(drop.begin(), drop.end(), is_all)) set_all(false);
  if (std::any_of(add.begin(), add.end(), is_all)) set_all(true);
  for (const std::string& name : add)
    if (!is_all(name)) has[SKIFF_TRY(number_of(name))] = true;
  for (const std::string& name : drop)
    if (!is_all(name)) has[SKIFF_TRY(number_of(name))] = false;
  std::vector<std::string> result;
  for (size_t i = 0; i < std::size(kCapabilities); ++i)
    if (has[i]) result.emplace_back(kCapabilities[i]);
  return result;
}

}  // namespace skiff::runtime
