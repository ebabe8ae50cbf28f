#include "bin/skiff-shim/runtime_file.h"

#include "sys/file.h"

namespace skiff::shim {

Status write_runtime_file(const std::string& bundle, const RuntimeFile& file) {
  return sys::write_file(bundle + "/runtime", fmt::format("{}\n{}\n", file.program, file.root));
}

Result<RuntimeFile> read_runtime_file(const std::string& bundle) {
  std::string text = SKIFF_TRY(sys::read_file(bundle + "/runtime"));
  size_t first = text.find('\n'), second = text.find('\n', first + 1);
  if (second == std::string::npos) return fail(Code::kDataLoss, "{}/runtime is cut short", bundle);
  return RuntimeFile{text.substr(0, first), text.substr(first + 1, second - first - 1)};
}

}  // namespace skiff::shim
