// References from users and clients: whatever parses has a canonical and a familiar form that parse
// back to the same thing, within the bounds of the grammar.
#include <cstdint>

#include "base/check.h"
#include "oci/platform.h"
#include "oci/reference.h"

using skiff::oci::Platform;
using skiff::oci::Reference;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  if (auto reference = Reference::parse(text)) {
    auto again = Reference::parse(reference->str());
    SKIFF_CHECK(again && again->str() == reference->str(), "the canonical form is stable");
    auto familiar = Reference::parse(reference->familiar());
    SKIFF_CHECK(familiar && familiar->str() == reference->str(), "the familiar form loses nothing");
    SKIFF_CHECK(reference->tag() || reference->digest(), "something names the object");
    SKIFF_CHECK(!reference->registry().empty() && reference->repository().size() <= 255,
                "the parts are within their bounds");
  }
  if (auto platform = Platform::parse(text)) {
    SKIFF_CHECK(platform->normalized() == *platform, "normalising twice changes nothing");
    SKIFF_CHECK(skiff::oci::match(*platform, *platform) == 0, "a platform runs itself best");
  }
  return 0;
}
