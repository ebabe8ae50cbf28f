// Image layers and images made in memory, for tests: entries in, tar or compressed blob out.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "codec/compression.h"
#include "codec/tar/writer.h"

namespace skiff::testing {

// Collects entries; the order is the archive's.
class LayerBuilder {
 public:
  LayerBuilder& folder(std::string name, uint32_t mode = 0755);
  LayerBuilder& file(std::string name, std::string content, uint32_t mode = 0644);
  LayerBuilder& symlink(std::string name, std::string target);
  LayerBuilder& hard_link(std::string name, std::string target);
  // ".wh." in front of the last component.
  LayerBuilder& whiteout(std::string name);
  LayerBuilder& entry(codec::tar::Entry entry, std::string content = {});

  // The plain tar.
  std::string tar() const;
  std::string blob(codec::Compression compression = codec::Compression::kGzip) const;

 private:
  struct Item {
    codec::tar::Entry entry;
    std::string content;
  };
  std::vector<Item> items_;
};

std::string compressed(std::string_view bytes, codec::Compression compression);
// Bytes that gzip cannot shrink, the same for the same seed.
std::string noise(size_t size, uint64_t seed = 1);
// The configuration of an image with these plain layer tars, for linux on this machine.
std::string image_config(const std::vector<std::string>& tars,
                         const std::string& extra_config = R"("Cmd":["/bin/true"])");

}  // namespace skiff::testing
