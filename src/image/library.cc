#include "image/library.h"

#include <algorithm>

#include "codec/json/json.h"
#include "image/documents.h"

namespace skiff::image {
namespace {

const CrashPoint kTag{"image.tag"};
const CrashPoint kRemove{"image.remove"};

// Shorter prefixes of digests are more likely names.
constexpr size_t kMinPrefix = 4;

bool is_hex(std::string_view text) {
  return std::ranges::all_of(
      text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace

Result<oci::Descriptor> Library::target_of(const Image& image) {
  auto value = SKIFF_TRY_WRAP(json::parse(image.target), "target of {}", image.name);
  return oci::Descriptor::from_json(value, "target of " + image.name);
}

Result<std::optional<Image>> Library::get(const Context& context, const std::string& name) {
  std::optional<Image> found;
  SKIFF_TRY(parts_.store.read(context, [&](metadata::Reader& reader) -> Status {
    auto image = metadata::images::get(reader, context.name_space(), name);
    if (image) {
      found = std::move(*image);
    } else if (!image.error().is(Code::kNotFound)) {
      return std::unexpected(image.error());
    }
    return ok();
  }));
  return found;
}

Result<Image> Library::find(const Context& context, const std::string& name) {
  if (auto image = SKIFF_TRY(get(context, name))) return *image;
  if (auto reference = oci::Reference::parse(name))
    if (auto image = SKIFF_TRY(get(context, reference->str()))) return *image;
  return find_by_digest(context, name);
}

Result<Image> Library::find_by_digest(const Context& context, const std::string& name) {
  std::string prefix = name.starts_with("sha256:") ? name.substr(7) : name;
  if (prefix.size() < kMinPrefix || !is_hex(prefix))
    return fail(Code::kNotFound, "no image {}", name);
  std::optional<Image> found;
  for (ImageSummary& summary : SKIFF_TRY(list(context, {}))) {
    const bool hit =
        summary.image.digest.hex().starts_with(prefix) || summary.config.hex().starts_with(prefix);
    if (!hit) continue;
    if (found && found->digest != summary.image.digest)
      return fail(Code::kInvalidArgument, "{} is the beginning of several images' digests", name);
    found = std::move(summary.image);
  }
  if (!found) return fail(Code::kNotFound, "no image {}", name);
  return *found;
}

Result<Library::Chosen> Library::manifest(const Context& context, const oci::Descriptor& target,
                                          const oci::Platform& platform) {
  oci::Descriptor at = target;
  constexpr int kMaxIndexDepth = 4;
  for (int depth = 0; depth <= kMaxIndexDepth; ++depth) {
    std::string text = SKIFF_TRY(read_document(context, parts_.content, at));
    if (!oci::is_index(at.media_type)) {
      auto manifest = SKIFF_TRY(oci::Manifest::parse(text, at.media_type));
      return Chosen{at, std::move(manifest), std::move(text)};
    }
    auto index = SKIFF_TRY(oci::Index::parse(text, at.media_type));
    at = SKIFF_TRY(index.choose(platform));
  }
  return fail(Code::kInvalidArgument, "index {} is nested too deeply", target.digest);
}

ImageSummary Library::summarize(const Context& context, const Image& image) {
  ImageSummary summary{.image = image};
  auto target = target_of(image);
  if (!target) return summary;
  summary.target = *target;
  // Content that is not here leaves the rest of the summary empty: the name stands all the same.
  auto chosen = manifest(context, *target, oci::Platform::host());
  if (!chosen) return summary;
  summary.config = chosen->manifest.config.digest;
  summary.size = chosen->descriptor.size + chosen->manifest.config.size;
  for (const oci::Descriptor& layer : chosen->manifest.layers) summary.size += layer.size;
  if (auto text = read_document(context, parts_.content, chosen->manifest.config))
    if (auto config = oci::ImageConfig::parse(*text)) {
      summary.created = config->created;
      summary.platform = config->platform;
    }
  return summary;
}

Result<std::vector<ImageSummary>> Library::list(const Context& context,
                                                const std::vector<std::string>& filters) {
  std::vector<Image> images;
  SKIFF_TRY(parts_.store.read(context, [&](metadata::Reader& reader) -> Status {
    images = SKIFF_TRY(metadata::images::list(reader, context.name_space(), filters));
    return ok();
  }));
  std::vector<ImageSummary> summaries;
  summaries.reserve(images.size());
  for (const Image& image : images) {
    SKIFF_TRY(context.check());
    summaries.push_back(summarize(context, image));
  }
  return summaries;
}

Result<ImageDetails> Library::inspect(const Context& context, const std::string& name,
                                      const oci::Platform& platform) {
  Image image = SKIFF_TRY(find(context, name));
  auto target = SKIFF_TRY(target_of(image));
  auto chosen = SKIFF_TRY_WRAP(manifest(context, target, platform), "{}", image.name);
  ImageDetails details{.summary = summarize(context, image),
                       .manifest = std::move(chosen.manifest),
                       .manifest_json = std::move(chosen.text)};
  details.config_json = SKIFF_TRY(read_document(context, parts_.content, details.manifest.config));
  details.config = SKIFF_TRY(oci::ImageConfig::parse(details.config_json));
  if (!details.config.diff_ids.empty())
    details.chain_id = oci::chain_ids(details.config.diff_ids).back();
  SKIFF_TRY(parts_.store.read(context, [&](metadata::Reader& reader) -> Status {
    for (auto& other : SKIFF_TRY(metadata::images::list(reader, context.name_space(),
                                                        {"target.digest==" + image.digest.str()})))
      details.names.push_back(other.name);
    return ok();
  }));
  return details;
}

Result<Image> Library::tag(const Context& context, const std::string& source,
                           const oci::Reference& target) {
  if (target.digest())
    return fail(Code::kInvalidArgument, "{}: a new name cannot have a digest", target.str());
  Image image = SKIFF_TRY(find(context, source));
  image.name = target.str();
  image.created = image.updated = metadata::now();
  SKIFF_TRY(parts_.store.write(
      context, kTag, metadata::Durability::kDurable, [&](metadata::Transaction& txn) -> Status {
        // Read again: the source may have been removed since.
        auto same = metadata::images::list(txn, context.name_space(),
                                           {"target.digest==" + image.digest.str()});
        if (SKIFF_TRY(std::move(same)).empty()) return fail(Code::kNotFound, "no image {}", source);
        return metadata::images::put(txn, context.name_space(), image);
      }));
  return image;
}

Result<Removed> Library::remove(const Context& context, const std::string& name) {
  Image image = SKIFF_TRY(find(context, name));
  Removed removed{.name = image.name};
  SKIFF_TRY(parts_.store.write(
      context, kRemove, metadata::Durability::kDurable, [&](metadata::Transaction& txn) -> Status {
        SKIFF_TRY(metadata::images::remove(txn, context.name_space(), image.name));
        removed.last = SKIFF_TRY(metadata::images::list(txn, context.name_space(),
                                                        {"target.digest==" + image.digest.str()}))
                           .empty();
        return ok();
      }));
  return removed;
}

}  // namespace skiff::image
