#include "bin/skiff-shim/arguments.h"

#include <map>
#include <string_view>

namespace skiff::shim {

Result<Arguments> parse_arguments(int argc, char** argv) {
  Arguments parsed;
  const std::map<std::string_view, std::string*> texts = {
      {"namespace", &parsed.name_space}, {"id", &parsed.id},
      {"address", &parsed.address},      {"publish-binary", &parsed.publish_binary},
      {"bundle", &parsed.bundle},        {"cgroup", &parsed.cgroup}};
  std::string ignored_socket;  // accepted, as other shims do; ours comes as descriptor 3
  const std::map<std::string_view, bool*> switches = {{"debug", &parsed.debug},
                                                      {"info", &parsed.info},
                                                      {"v", &parsed.version},
                                                      {"version", &parsed.version},
                                                      {"leave-when-idle", &parsed.leave_when_idle}};
  for (int i = 1; i < argc; ++i) {
    std::string_view word = argv[i];
    if (!word.starts_with('-')) {
      if (!parsed.action.empty())
        return fail(Code::kInvalidArgument, "one action is enough: {} and {}", parsed.action, word);
      parsed.action = word;
      continue;
    }
    word.remove_prefix(word.starts_with("--") ? 2 : 1);
    size_t equals = word.find('=');
    std::string_view name = word.substr(0, equals);
    if (auto found = switches.find(name); found != switches.end()) {
      *found->second = equals == std::string_view::npos || word.substr(equals + 1) == "true";
      continue;
    }
    auto found = texts.find(name);
    std::string* target = found != texts.end() ? found->second
                          : name == "socket"   ? &ignored_socket
                                               : nullptr;
    if (!target) return fail(Code::kInvalidArgument, "unknown flag -{}", name);
    if (equals != std::string_view::npos) {
      *target = word.substr(equals + 1);
    } else if (i + 1 < argc) {
      *target = argv[++i];
    } else {
      return fail(Code::kInvalidArgument, "flag -{} needs a value", name);
    }
  }
  return parsed;
}

}  // namespace skiff::shim
