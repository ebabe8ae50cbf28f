#include <algorithm>

#include "base/random_id.h"
#include "codec/compression.h"
#include "codec/hash.h"
#include "codec/json/json.h"
#include "image/archive.h"
#include "image/documents.h"

namespace skiff::image {
namespace {

// Files that may be documents are kept in memory up to this, all together.
constexpr size_t kMaxTextBytes = 64 << 20;

// A member's path without "./" and double slashes.
std::string clean(std::string_view name) {
  std::string path;
  for (size_t begin = 0; begin < name.size();) {
    const size_t end = std::min(name.find('/', begin), name.size());
    const auto part = name.substr(begin, end - begin);
    if (!part.empty() && part != ".") {
      if (!path.empty()) path += '/';
      path += part;
    }
    begin = end + 1;
  }
  return path;
}

// The digest that a path in an OCI layout names, if it does.
std::optional<Digest> blob_digest(std::string_view path) {
  if (!path.starts_with("blobs/")) return std::nullopt;
  std::string text(path.substr(6));
  const auto slash = text.find('/');
  if (slash == std::string::npos) return std::nullopt;
  text[slash] = ':';
  auto digest = Digest::parse(text);
  if (!digest) return std::nullopt;
  return *digest;
}

// Docker's archives keep layers as <id>/layer.tar or <digest>.tar.
bool is_layer_file(std::string_view path) { return path.ends_with(".tar"); }

std::string_view layer_type(Bytes start) {
  switch (codec::detect(start)) {
    case codec::Compression::kGzip: return oci::media_type::kDockerLayerGzip;
    case codec::Compression::kZstd: return oci::media_type::kOciLayerZstd;
    case codec::Compression::kNone: break;
  }
  return oci::media_type::kDockerLayer;
}

}  // namespace

Result<std::vector<ArchiveImage>> ArchiveImport::run(ByteSource& archive, const std::string& name) {
  auto plain = SKIFF_TRY(codec::decompress(archive));
  codec::BufferedWindow window(*plain.source);
  codec::tar::Reader tar(window);
  while (const codec::tar::Entry* entry = SKIFF_TRY(tar.next())) {
    SKIFF_TRY(context_.check());
    SKIFF_TRY(read_entry(tar, *entry));
  }
  if (texts_.contains("index.json")) {
    auto images = SKIFF_TRY(images_of_index(name));
    const bool named = std::ranges::all_of(images, [](auto& image) { return !image.name.empty(); });
    if (named || !texts_.contains("manifest.json")) return images;
  }
  if (texts_.contains("manifest.json")) return images_of_docker_manifest(name);
  return fail(Code::kInvalidArgument,
              "this is no image archive: it has neither an index.json nor a manifest.json");
}

Status ArchiveImport::read_entry(codec::tar::Reader& tar, const codec::tar::Entry& entry) {
  const std::string path = clean(entry.name);
  if (entry.type == codec::tar::EntryType::kSymlink ||
      entry.type == codec::tar::EntryType::kHardLink) {
    // "../<id>/layer.tar" from "<id>/layer.tar": docker's way to store a layer once.
    std::string target = entry.link_name;
    if (target.starts_with("../")) target = target.substr(3);
    links_[path] = clean(target);
    return ok();
  }
  if (entry.type != codec::tar::EntryType::kFile) return ok();
  if (auto digest = blob_digest(path)) return read_blob(tar, entry, path, *digest);
  if (is_layer_file(path)) return read_blob(tar, entry, path, {});
  if (path.ends_with(".json") || path == "oci-layout") {
    texts_[path] = SKIFF_TRY(read_text(tar, entry));
  }
  return ok();
}

Result<std::string> ArchiveImport::read_text(codec::tar::Reader& tar,
                                             const codec::tar::Entry& entry) {
  text_bytes_ += entry.size;
  if (entry.size > oci::kMaxConfigBytes || text_bytes_ > kMaxTextBytes)
    return fail(Code::kResourceExhausted, "{} in the archive is too big", entry.name);
  std::string text(entry.size, '\0');
  for (;;) {
    auto piece = SKIFF_TRY(tar.next_piece());
    if (piece.bytes.empty()) return text;
    text.replace(piece.offset, piece.bytes.size(), as_text(piece.bytes));
  }
}

Status ArchiveImport::read_blob(codec::tar::Reader& tar, const codec::tar::Entry& entry,
                                const std::string& path, const Digest& expected) {
  const uint64_t size = entry.size;
  const std::string ref = "import-" + random_id(8);
  auto ingest = parts_.content.ingest(context_, ref, {.digest = expected, .size = size});
  if (!ingest && !ingest.error().is(Code::kAlreadyExists)) return std::unexpected(ingest.error());
  codec::Hasher hasher(expected.empty() ? DigestAlgorithm::kSha256 : expected.algorithm());
  std::string_view type = oci::media_type::kDockerLayer;
  uint64_t offset = 0;
  for (;;) {
    auto piece = SKIFF_TRY(tar.next_piece());
    if (piece.bytes.empty()) break;
    if (piece.offset != offset)
      return fail(Code::kInvalidArgument, "{}: a sparse file where a blob should be", path);
    if (offset == 0) type = layer_type(piece.bytes);
    hasher.update(piece.bytes);
    if (ingest) SKIFF_TRY((*ingest)->write(piece.bytes));
    offset += piece.bytes.size();
  }
  const Digest digest = hasher.finish();
  if (!expected.empty() && digest != expected)
    return fail(Code::kDataLoss, "{} in the archive has the digest {}", path, digest);
  if (ingest)
    SKIFF_TRY(
        (*ingest)->commit(context_, {.digest = digest, .size = size},
                          {.durability = metadata::Durability::kDurable, .computed = digest}));
  SKIFF_TRY(parts_.content.share(context_, digest, {}));
  files_[path] = {.media_type = std::string(type), .digest = digest, .size = size};
  return ok();
}

Result<std::vector<ArchiveImage>> ArchiveImport::images_of_index(const std::string& name) {
  auto index = SKIFF_TRY_WRAP(oci::Index::parse(texts_["index.json"], oci::media_type::kOciIndex),
                              "index.json");
  std::vector<ArchiveImage> images;
  for (oci::Descriptor& target : index.manifests) {
    auto annotation = [&](const char* key) {
      auto found = target.annotations.find(key);
      return found == target.annotations.end() ? std::string() : found->second;
    };
    std::string full = annotation("io.containerd.image.name");
    const std::string tag = annotation("org.opencontainers.image.ref.name");
    if (full.empty()) full = name.empty() ? (tag.find('/') != tag.npos ? tag : "") : name;
    std::string canonical;
    if (!full.empty()) {
      auto reference = SKIFF_TRY(oci::Reference::parse(full));
      // A layout's own tags tell its images apart under the name that the caller gave.
      if (full == name && !tag.empty() && tag.find_first_of("/:") == tag.npos)
        reference = reference.with_tag(tag);
      canonical = reference.str();
    }
    target.annotations.clear();
    images.push_back({.name = std::move(canonical), .target = std::move(target)});
  }
  if (images.empty()) return fail(Code::kInvalidArgument, "index.json lists no image");
  return images;
}

std::string ArchiveImport::follow_links(std::string path) const {
  for (int hops = 0; hops < 8; ++hops) {
    auto link = links_.find(path);
    if (link == links_.end()) break;
    path = link->second;
  }
  return path;
}

Result<oci::Descriptor> ArchiveImport::layer_of(const std::string& path) {
  auto file = files_.find(follow_links(clean(path)));
  if (file == files_.end())
    return fail(Code::kInvalidArgument, "manifest.json names the layer {}, which is not there",
                path);
  oci::Descriptor layer = file->second;
  if (!oci::is_layer(layer.media_type)) layer.media_type = oci::media_type::kDockerLayer;
  return layer;
}

Result<oci::Descriptor> ArchiveImport::docker_image(const json::Value& item) {
  const std::string config_path = follow_links(clean(SKIFF_TRY(item.get_string("Config"))));
  oci::Descriptor config{.media_type = std::string(oci::media_type::kDockerConfig)};
  if (auto file = files_.find(config_path); file != files_.end()) {
    config.digest = file->second.digest;
    config.size = file->second.size;
  } else if (auto text = texts_.find(config_path); text != texts_.end()) {
    config.digest = codec::digest_of(text->second);
    config.size = text->second.size();
    SKIFF_TRY(store_document(context_, parts_.content, config, text->second, {},
                             metadata::Durability::kDurable));
  } else {
    return fail(Code::kInvalidArgument,
                "manifest.json names the configuration {}, which is not there", config_path);
  }
  oci::Manifest manifest{.media_type = std::string(oci::media_type::kDockerManifest),
                         .config = config};
  for (const std::string& layer : SKIFF_TRY(item.get_strings("Layers")))
    manifest.layers.push_back(SKIFF_TRY(layer_of(layer)));
  const std::string text = manifest.to_json_text();
  oci::Descriptor target{
      .media_type = manifest.media_type, .digest = codec::digest_of(text), .size = text.size()};
  SKIFF_TRY(store_document(context_, parts_.content, target, text, manifest_gc_labels(manifest),
                           metadata::Durability::kDurable));
  return target;
}

Result<std::vector<ArchiveImage>> ArchiveImport::images_of_docker_manifest(
    const std::string& name) {
  auto document = SKIFF_TRY_WRAP(json::parse(texts_["manifest.json"]), "manifest.json");
  const json::Array* items = SKIFF_TRY_WRAP(document.as_array(), "manifest.json");
  std::vector<ArchiveImage> images;
  for (const json::Value& item : *items) {
    auto target = SKIFF_TRY_WRAP(docker_image(item), "manifest.json");
    auto tags = SKIFF_TRY(item.get_strings("RepoTags"));
    if (tags.empty()) tags.push_back(name);
    for (const std::string& tag : tags) {
      std::string canonical;
      if (!tag.empty()) canonical = SKIFF_TRY(oci::Reference::parse(tag)).str();
      images.push_back({.name = std::move(canonical), .target = target});
    }
  }
  if (images.empty()) return fail(Code::kInvalidArgument, "manifest.json lists no image");
  return images;
}

}  // namespace skiff::image
