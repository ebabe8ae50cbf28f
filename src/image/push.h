// Pushing an image: what the registry has is skipped, what another of its repositories has is
// mounted, the rest uploaded side by side; manifests follow when all they refer to is there.
#pragma once

#include "base/guarded.h"
#include "image/image_service.h"
#include "image/library.h"

namespace skiff::image {

class Push {
 public:
  Push(const ImageService::Parts& parts, Library& library, const Context& context,
       const oci::Reference& target, const PushOptions& options, const ProgressFn& progress);

  Status run(const Image& image);

 private:
  Status push_manifest(const oci::Descriptor& descriptor, const std::string& object);
  Status push_index(const oci::Descriptor& descriptor, const std::string& object, int depth);
  Status push_blobs(const std::vector<oci::Descriptor>& blobs);
  Status push_blob(const oci::Descriptor& blob, size_t shown);
  Result<std::vector<std::string>> sources_of(const Digest& digest);
  void show(size_t index, LayerState state, uint64_t offset);

  const ImageService::Parts& parts_;
  Library& library_;
  const Context context_;
  const oci::Reference target_;
  const PushOptions& options_;
  const ProgressFn& progress_;
  std::unique_ptr<registry::Pusher> pusher_;
  Guarded<std::vector<LayerProgress>> shown_;
  std::chrono::steady_clock::time_point last_report_{};  // guarded by shown_'s lock
};

}  // namespace skiff::image
