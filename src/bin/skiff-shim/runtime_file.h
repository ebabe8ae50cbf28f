// <bundle>/runtime: which OCI runtime made the container, for whoever clears away after a shim that
// died. Two lines: the program, its --root.
#pragma once

#include <string>

#include "base/error.h"

namespace skiff::shim {

struct RuntimeFile {
  std::string program, root;
};
Status write_runtime_file(const std::string& bundle, const RuntimeFile& file);
Result<RuntimeFile> read_runtime_file(const std::string& bundle);

}  // namespace skiff::shim
