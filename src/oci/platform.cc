#include "oci/platform.h"

#include <algorithm>
#include <array>

#include <sys/utsname.h>

#include <fmt/core.h>

namespace skiff::oci {
namespace {

constexpr auto kKnownSystems = std::to_array<std::string_view>(
    {"linux", "windows", "darwin", "freebsd", "netbsd", "openbsd", "solaris", "illumos", "android",
     "aix", "dragonfly", "plan9", "wasip1", "js"});

struct Alias {
  std::string_view name;
  std::string_view architecture;
  std::string_view variant;  // where the name implies one
};
// What uname(2), Debian and users call them; the target names are Go's.
constexpr auto kAliases = std::to_array<Alias>({
    {"x86_64", "amd64", ""},    {"x86-64", "amd64", ""},      {"amd64", "amd64", ""},
    {"i386", "386", ""},        {"i486", "386", ""},          {"i586", "386", ""},
    {"i686", "386", ""},        {"386", "386", ""},           {"aarch64", "arm64", ""},
    {"arm64", "arm64", ""},     {"arm", "arm", ""},           {"armhf", "arm", "v7"},
    {"armv7l", "arm", "v7"},    {"armv8l", "arm", "v8"},      {"armv6l", "arm", "v6"},
    {"armel", "arm", "v6"},     {"armv5tel", "arm", "v5"},    {"armv5tejl", "arm", "v5"},
    {"riscv64", "riscv64", ""}, {"ppc64le", "ppc64le", ""},   {"ppc64el", "ppc64le", ""},
    {"ppc64", "ppc64", ""},     {"s390x", "s390x", ""},       {"loongarch64", "loong64", ""},
    {"loong64", "loong64", ""}, {"mips64le", "mips64le", ""}, {"mips64el", "mips64le", ""},
    {"mips64", "mips64", ""},   {"mipsle", "mipsle", ""},     {"mipsel", "mipsle", ""},
    {"mips", "mips", ""},       {"wasm", "wasm", ""},
});

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

const Alias* find_alias(std::string_view name) {
  auto found = std::ranges::find(kAliases, name, &Alias::name);
  return found == kAliases.end() ? nullptr : &*found;
}

bool is_known_system(std::string_view name) {
  return name == "macos" || std::ranges::find(kKnownSystems, name) != kKnownSystems.end();
}

bool is_variant(std::string_view text) {
  return text.size() >= 2 && text[0] == 'v' && text[1] >= '0' && text[1] <= '9';
}

bool valid_part(std::string_view part) {
  return !part.empty() && part.size() <= 128 && std::ranges::all_of(part, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
  });
}

std::unexpected<Error> invalid(std::string_view text, std::string_view why) {
  return fail(Code::kInvalidArgument,
              "invalid platform \"{}\": {}; write it as os/architecture[/variant], such as "
              "linux/amd64 or linux/arm64/v8",
              text.substr(0, 256), why);
}

// Takes "(10.0.17763)" off the end of an os.
std::string take_os_version(std::string& os) {
  size_t open = os.find('(');
  // Empty parentheses stay where they are, to be refused with the rest of the part.
  if (open == std::string::npos || !os.ends_with(')') || open + 2 == os.size()) return {};
  std::string version = os.substr(open + 1, os.size() - open - 2);
  os.resize(open);
  return version;
}

// The level of x86-64 that this CPU and system can run.
std::string_view host_amd64_variant() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("x86-64-v4")) return "v4";
  if (__builtin_cpu_supports("x86-64-v3")) return "v3";
  if (__builtin_cpu_supports("x86-64-v2")) return "v2";
#endif
  return "";
}

// The level of a variant such as "v8" or "v8.2"; 0 when it has none.
int level_of(std::string_view variant) {
  int level = 0;
  for (char c : variant.substr(std::min<size_t>(variant.size(), 1))) {
    if (c < '0' || c > '9' || level > 99) break;
    level = level * 10 + (c - '0');
  }
  return level;
}

// Adds the variants of `architecture` from `from` down to `to`.
void add_levels(std::vector<Platform>& out, const Platform& base, std::string architecture,
                int from, int to) {
  for (int level = from; level >= to; --level) {
    Platform platform = base;
    platform.architecture = architecture;
    platform.variant = fmt::format("v{}", level);
    out.push_back(platform.normalized());
  }
}

}  // namespace

Result<Platform> Platform::parse(std::string_view text) {
  std::vector<std::string> parts;
  for (std::string_view rest = text;;) {
    size_t slash = rest.find('/');
    parts.emplace_back(rest.substr(0, slash));
    if (slash == std::string_view::npos) break;
    rest.remove_prefix(slash + 1);
  }
  if (parts.size() > 3) return invalid(text, "it has more than three parts");
  Platform platform;
  platform.os_version = take_os_version(parts.front());
  if (!platform.os_version.empty() && !valid_part(platform.os_version))
    return invalid(text, "the system's version is malformed");
  for (const std::string& part : parts)
    if (!valid_part(part)) return invalid(text, "a part is empty or has a character out of place");

  bool starts_with_architecture =
      !is_known_system(lower(parts[0])) && find_alias(lower(parts[0])) != nullptr;
  if (parts.size() == 1 && !starts_with_architecture) {
    if (!is_known_system(lower(parts[0])))
      return invalid(text, "neither a system nor an architecture");
    Platform machine = host();
    platform.os = parts[0];
    platform.architecture = machine.architecture;
    platform.variant = machine.variant;
  } else if (parts.size() == 1 ||
             (parts.size() == 2 && starts_with_architecture && is_variant(lower(parts[1])))) {
    platform.os = "linux";
    platform.architecture = parts[0];
    if (parts.size() == 2) platform.variant = parts[1];
  } else {
    platform.os = parts[0];
    platform.architecture = parts[1];
    if (parts.size() == 3) platform.variant = parts[2];
  }
  return platform.normalized();
}

Platform Platform::normalized() const {
  Platform out{lower(os), lower(architecture), lower(variant), os_version};
  if (out.os == "macos") out.os = "darwin";
  if (const Alias* alias = find_alias(out.architecture)) {
    out.architecture = alias->architecture;
    if (out.variant.empty()) out.variant = alias->variant;
  }
  bool leveled =
      out.architecture == "arm" || out.architecture == "arm64" || out.architecture == "amd64";
  if (leveled && !out.variant.empty() && out.variant[0] >= '0' && out.variant[0] <= '9')
    out.variant.insert(0, "v");
  if (out.architecture == "arm64" && out.variant.empty()) out.variant = "v8";
  if (out.architecture == "arm" && out.variant.empty()) out.variant = "v7";
  if (out.architecture == "amd64" && out.variant == "v1") out.variant.clear();
  if (out.architecture == "386") out.variant.clear();
  return out;
}

Platform Platform::host() {
  utsname names{};
  uname(&names);
  Platform platform{"linux", names.machine, "", ""};
  platform = platform.normalized();
  if (platform.architecture == "amd64") platform.variant = host_amd64_variant();
  return platform;
}

std::string Platform::str() const {
  std::string text = os;
  if (!os_version.empty()) text += "(" + os_version + ")";
  text += "/" + architecture;
  if (!variant.empty()) text += "/" + variant;
  return text;
}

std::vector<Platform> runnable(const Platform& wanted) {
  Platform base = wanted.normalized();
  std::vector<Platform> out{base};
  int level = std::min(level_of(base.variant), 32);
  bool plain = base.variant.empty() || base.variant == fmt::format("v{}", level);
  if (base.architecture == "amd64") {
    add_levels(out, base, "amd64", std::max(level, 1) - (plain ? 1 : 0), 1);
    Platform narrow = base;
    narrow.architecture = "386";
    out.push_back(narrow.normalized());
  } else if (base.architecture == "arm64") {
    add_levels(out, base, "arm64", level - (plain ? 1 : 0), 8);
    add_levels(out, base, "arm", 8, 5);
  } else if (base.architecture == "arm") {
    add_levels(out, base, "arm", level - (plain ? 1 : 0), 5);
  }
  return out;
}

std::optional<int> match(const Platform& wanted, const Platform& offered) {
  Platform given = offered.normalized();
  // Only Windows ties images to a build of the system.
  bool version_counts = given.os == "windows" && !wanted.os_version.empty();
  int rank = 0;
  for (const Platform& candidate : runnable(wanted)) {
    if (candidate.os == given.os && candidate.architecture == given.architecture &&
        candidate.variant == given.variant &&
        (!version_counts || candidate.os_version == given.os_version))
      return rank;
    ++rank;
  }
  return std::nullopt;
}

}  // namespace skiff::oci
