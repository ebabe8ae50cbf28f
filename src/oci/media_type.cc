#include <algorithm>
#include <array>

#include "oci/descriptor.h"

namespace skiff::oci {
namespace {

constexpr std::string_view kOciLayerPrefix = "application/vnd.oci.image.layer.v1.tar";
constexpr std::string_view kOciForeignPrefix =
    "application/vnd.oci.image.layer.nondistributable.v1.tar";
constexpr std::string_view kDockerZstdLayer = "application/vnd.docker.image.rootfs.diff.tar.zstd";

// The type itself, or the type and one of the known compressions.
bool is_tar_type(std::string_view media_type, std::string_view prefix) {
  if (!media_type.starts_with(prefix)) return false;
  std::string_view suffix = media_type.substr(prefix.size());
  return suffix.empty() || suffix == "+gzip" || suffix == "+zstd";
}

}  // namespace

bool is_index(std::string_view media_type) {
  return media_type == media_type::kOciIndex || media_type == media_type::kDockerList;
}

bool is_manifest(std::string_view media_type) {
  return media_type == media_type::kOciManifest || media_type == media_type::kDockerManifest;
}

bool is_non_distributable(std::string_view media_type) {
  return media_type == media_type::kDockerForeignLayer ||
         is_tar_type(media_type, kOciForeignPrefix);
}

bool is_layer(std::string_view media_type) {
  return is_tar_type(media_type, kOciLayerPrefix) || is_non_distributable(media_type) ||
         media_type == media_type::kDockerLayer || media_type == media_type::kDockerLayerGzip ||
         media_type == kDockerZstdLayer;
}

}  // namespace skiff::oci
