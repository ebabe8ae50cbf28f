#include "codec/json/json.h"
#include "image/archive.h"
#include "image/documents.h"

namespace skiff::image {
namespace {

std::string blob_path(const Digest& digest) {
  return fmt::format("blobs/{}/{}", algorithm_name(digest.algorithm()), digest.hex());
}

}  // namespace

Status ArchiveExport::run(const std::vector<std::string>& names, ArchiveFormat format) {
  SKIFF_TRY(add_text("oci-layout", R"({"imageLayoutVersion":"1.0.0"})"));
  SKIFF_TRY(add_folder("blobs"));
  SKIFF_TRY(add_folder("blobs/sha256"));
  for (const std::string& name : names)
    SKIFF_TRY_WRAP(add_image(SKIFF_TRY(library_.find(context_, name))), "save {}", name);
  SKIFF_TRY(add_text("index.json", json::dump(json::Value::object(
                                       {{"schemaVersion", 2},
                                        {"mediaType", std::string(oci::media_type::kOciIndex)},
                                        {"manifests", std::move(index_manifests_)}}))));
  if (format == ArchiveFormat::kDocker)
    SKIFF_TRY(add_text("manifest.json", json::dump(docker_manifests_)));
  return tar_.finish();
}

Status ArchiveExport::add_image(const Image& image) {
  auto target = SKIFF_TRY(Library::target_of(image));
  auto chosen = SKIFF_TRY(library_.manifest(context_, target, platform_));
  for (const oci::Descriptor& layer : chosen.manifest.layers) SKIFF_TRY(add_blob(layer));
  SKIFF_TRY(add_blob(chosen.manifest.config));
  SKIFF_TRY(add_blob(chosen.descriptor));

  oci::Descriptor entry = chosen.descriptor;
  json::Value tags = json::Value::array();
  if (auto reference = oci::Reference::parse(image.name)) {
    entry.annotations["io.containerd.image.name"] = reference->str();
    if (reference->tag()) {
      entry.annotations["org.opencontainers.image.ref.name"] = *reference->tag();
      tags.push_back(reference->familiar());
    }
  }
  index_manifests_.push_back(entry.to_json());
  json::Value layers = json::Value::array();
  for (const oci::Descriptor& layer : chosen.manifest.layers)
    layers.push_back(blob_path(layer.digest));
  docker_manifests_.push_back(
      json::Value::object({{"Config", blob_path(chosen.manifest.config.digest)},
                           {"RepoTags", std::move(tags)},
                           {"Layers", std::move(layers)}}));
  return ok();
}

Status ArchiveExport::add_blob(const oci::Descriptor& descriptor) {
  if (!written_.emplace(descriptor.digest, true).second) return ok();
  auto reader = SKIFF_TRY_WRAP(parts_.content.open(context_, descriptor.digest),
                               "blob {} is not here: pull the image again with --no-unpack",
                               descriptor.digest);
  SKIFF_TRY(tar_.add({.name = blob_path(descriptor.digest), .size = reader->size()}));
  auto source = content::source(reader);
  SKIFF_TRY(copy(*source, tar_));
  return context_.check();
}

Status ArchiveExport::add_text(const std::string& name, std::string_view text) {
  SKIFF_TRY(tar_.add({.name = name, .size = text.size()}));
  return tar_.write(as_bytes(text));
}

Status ArchiveExport::add_folder(const std::string& name) {
  return tar_.add({.type = codec::tar::EntryType::kDirectory, .name = name + "/", .mode = 0755});
}

}  // namespace skiff::image
