// Documents from registries: manifests, indexes, image configurations. What parses is written back
// and parses to the same.
#include <cstdint>

#include "base/check.h"
#include "oci/descriptor.h"

namespace oci = skiff::oci;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  if (auto manifest = oci::Manifest::parse(text, "")) {
    std::string written = manifest->to_json_text();
    auto again = oci::Manifest::parse(written, manifest->media_type);
    SKIFF_CHECK(again && again->to_json_text() == written, "a manifest round-trips");
    SKIFF_CHECK(!oci::Index::parse(text, ""), "no document is both manifest and index");
  }
  if (auto index = oci::Index::parse(text, "")) {
    std::string written = index->to_json_text();
    auto again = oci::Index::parse(written, index->media_type);
    SKIFF_CHECK(again && again->to_json_text() == written, "an index round-trips");
    (void)index->choose({"linux", "amd64", "v3", ""});
  }
  (void)oci::ImageConfig::parse(text);
  return 0;
}
