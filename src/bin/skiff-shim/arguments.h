// The command line, in the form containerd's shims share: flags (-name value, --name=value), then
// one action.
#pragma once

#include <string>

#include "base/error.h"

namespace skiff::shim {

struct Arguments {
  std::string action;  // "start", "delete", "serve"; empty with -info or -v
  std::string name_space = "default", id, address, publish_binary, bundle;
  std::string cgroup;  // ours: where the shim itself lives
  bool debug = false, info = false, version = false;
  bool leave_when_idle = false;  // ours: end when the last client goes and no container is left
};
Result<Arguments> parse_arguments(int argc, char** argv);

}  // namespace skiff::shim
