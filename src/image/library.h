// What images are here, under which names: list, find, inspect, tag, remove.
#pragma once

#include <string>
#include <vector>

#include "image/image_service.h"

namespace skiff::image {

// Thread-safe; a short transaction or a few small reads each.
class Library {
 public:
  explicit Library(const ImageService::Parts& parts) : parts_(parts) {}

  Result<std::vector<ImageSummary>> list(const Context& context,
                                         const std::vector<std::string>& filters);
  Result<Image> find(const Context& context, const std::string& name);
  Result<ImageDetails> inspect(const Context& context, const std::string& name,
                               const oci::Platform& platform);
  Result<Image> tag(const Context& context, const std::string& source,
                    const oci::Reference& target);
  Result<Removed> remove(const Context& context, const std::string& name);

  // The manifest that a target (an index or a manifest) means for a platform, with its bytes.
  struct Chosen {
    oci::Descriptor descriptor;
    oci::Manifest manifest;
    std::string text;
  };
  Result<Chosen> manifest(const Context& context, const oci::Descriptor& target,
                          const oci::Platform& platform);
  static Result<oci::Descriptor> target_of(const Image& image);

 private:
  ImageSummary summarize(const Context& context, const Image& image);
  Result<Image> find_by_digest(const Context& context, const std::string& prefix);
  Result<std::optional<Image>> get(const Context& context, const std::string& name);

  ImageService::Parts parts_;
};

}  // namespace skiff::image
