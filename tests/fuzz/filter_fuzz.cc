// A filter from anybody's hands either compiles or says where it does not; what compiles matches
// without harm, and the same way each time.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "metadata/filter.h"

using skiff::metadata::Filter;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string text(reinterpret_cast<const char*>(data), size);
  auto filter = Filter::compile({text});
  if (!filter) {
    if (!filter.error().is(skiff::Code::kInvalidArgument)) std::abort();
    if (filter.error().message().find("at character ") == std::string::npos) std::abort();
    return 0;
  }
  auto lookup = [&](const auto& path) -> std::optional<std::string_view> {
    if (path.empty()) std::abort();
    if (path[0] == "name") return "docker.io/library/redis:7";
    if (path[0] == "labels") return text;  // what it looks for may be in it
    return std::nullopt;
  };
  if (filter->match(lookup) != Filter(*filter).match(lookup)) std::abort();
  return 0;
}
