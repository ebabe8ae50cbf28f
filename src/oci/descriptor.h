// Descriptors, manifests, indexes and image configurations: the OCI image specification 1.1 and
// Docker's image manifest version 2, schema 2.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/error.h"
#include "codec/json/json.h"
#include "oci/platform.h"

namespace skiff::oci {

using Annotations = std::map<std::string, std::string>;

namespace media_type {
inline constexpr std::string_view kOciIndex = "application/vnd.oci.image.index.v1+json";
inline constexpr std::string_view kOciManifest = "application/vnd.oci.image.manifest.v1+json";
inline constexpr std::string_view kOciConfig = "application/vnd.oci.image.config.v1+json";
inline constexpr std::string_view kOciLayer = "application/vnd.oci.image.layer.v1.tar";
inline constexpr std::string_view kOciLayerGzip = "application/vnd.oci.image.layer.v1.tar+gzip";
inline constexpr std::string_view kOciLayerZstd = "application/vnd.oci.image.layer.v1.tar+zstd";
inline constexpr std::string_view kDockerList =
    "application/vnd.docker.distribution.manifest.list.v2+json";
inline constexpr std::string_view kDockerManifest =
    "application/vnd.docker.distribution.manifest.v2+json";
inline constexpr std::string_view kDockerConfig = "application/vnd.docker.container.image.v1+json";
inline constexpr std::string_view kDockerLayer = "application/vnd.docker.image.rootfs.diff.tar";
inline constexpr std::string_view kDockerLayerGzip =
    "application/vnd.docker.image.rootfs.diff.tar.gzip";
inline constexpr std::string_view kDockerForeignLayer =
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
}  // namespace media_type

bool is_index(std::string_view media_type);
bool is_manifest(std::string_view media_type);
// Any layer type, the non-distributable ones too.
bool is_layer(std::string_view media_type);
bool is_non_distributable(std::string_view media_type);

struct Descriptor {
  std::string media_type;
  Digest digest;
  uint64_t size = 0;
  std::vector<std::string> urls;
  Annotations annotations;
  std::optional<Platform> platform;
  std::string artifact_type;

  // InvalidArgument names the field (`layers[2]: "digest" is missing`).
  static Result<Descriptor> from_json(const json::Value& value, std::string_view where);
  json::Value to_json() const;
};

// Bounds on what a registry may send, in bytes (DESIGN: nothing from a registry is trusted).
inline constexpr size_t kMaxManifestBytes = 4 << 20;
inline constexpr size_t kMaxConfigBytes = 8 << 20;

struct Manifest {
  std::string media_type;
  Descriptor config;
  std::vector<Descriptor> layers;
  std::optional<Descriptor> subject;
  std::string artifact_type;
  Annotations annotations;

  // `media_type` as the registry or descriptor said; a mediaType field that contradicts it, a
  // document that is both index and manifest, schema 1 and missing fields are InvalidArgument.
  static Result<Manifest> parse(std::string_view text, std::string_view media_type);
  std::string to_json_text() const;
};

struct Index {
  std::string media_type;
  std::vector<Descriptor> manifests;
  Annotations annotations;

  static Result<Index> parse(std::string_view text, std::string_view media_type);
  std::string to_json_text() const;
  // The best entry for a platform; manifests and indexes without a platform count as a last resort,
  // attestations (platform unknown/unknown) never. NotFound lists what is offered.
  Result<Descriptor> choose(const Platform& wanted) const;
};

struct ImageConfig {
  Platform platform;
  std::string created;
  std::string author;

  // config: what a container inherits.
  std::string user;
  std::vector<std::string> env;
  std::vector<std::string> entrypoint;
  std::vector<std::string> cmd;
  std::string working_dir;
  std::vector<std::string> volumes;
  std::vector<std::string> exposed_ports;
  std::string stop_signal;
  Annotations labels;

  std::vector<Digest> diff_ids;

  static Result<ImageConfig> parse(std::string_view text);
};

// Chain IDs of a stack of layers, lowest first (OCI image specification, config.md): the first is
// the first diff ID, each next the sha256 of "<chain> <diff ID>".
std::vector<Digest> chain_ids(const std::vector<Digest>& diff_ids);

}  // namespace skiff::oci
