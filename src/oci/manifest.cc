#include <limits>

#include "oci/descriptor.h"
#include "oci/fields.h"

namespace skiff::oci {
namespace {

constexpr std::string_view kAttestationType = "vnd.docker.reference.type";

// What stands in for a media type when nobody named one.
bool is_generic(std::string_view media_type) {
  return media_type.empty() || media_type == "application/json" || media_type == "text/plain" ||
         media_type == "application/octet-stream";
}

// "application/json; charset=utf-8" without its parameters.
std::string_view without_parameters(std::string_view media_type) {
  media_type = media_type.substr(0, media_type.find(';'));
  while (media_type.ends_with(' ')) media_type.remove_suffix(1);
  return media_type;
}

struct Kind {
  std::string_view noun;
  bool (*accepts)(std::string_view media_type);
  std::string_view fallback;      // the type of a document that nobody gave one
  std::string_view own, foreign;  // the member that makes it this kind, and the other kind's
};
constexpr Kind kManifestKind{"manifest", is_manifest, media_type::kOciManifest, "config",
                             "manifests"};
constexpr Kind kIndexKind{"index", is_index, media_type::kOciIndex, "manifests", "layers"};

// The document and the media type that both it and its bearer agree on.
struct Document {
  json::Value value;
  std::string media_type;
};

Status check_shape(const Kind& kind, const json::Value& value) {
  if (!value.is_object())
    return fail(Code::kInvalidArgument, "the {} is {}, no object", kind.noun,
                json::type_name(value.type()));
  if (value.find("fsLayers") || value.find("history"))
    return fail(Code::kInvalidArgument,
                "the manifest is Docker's schema 1, which is no longer supported; push the image "
                "again with a current tool");
  // A document that two readers may understand in two ways has two contents under one digest.
  if (value.find(kind.foreign) || (&kind == &kIndexKind && value.find("config")))
    return fail(Code::kInvalidArgument, "the {} has the members of both a manifest and an index",
                kind.noun);
  int64_t version = SKIFF_TRY(located(value.get_int("schemaVersion"), kind.noun));
  if (version != 2)
    return fail(Code::kInvalidArgument, "the {} has schemaVersion {}, only 2 is supported",
                kind.noun, version);
  return ok();
}

Result<Document> read_document(const Kind& kind, std::string_view text, std::string_view given) {
  if (text.size() > kMaxManifestBytes)
    return fail(Code::kInvalidArgument, "the {} has {} bytes, more than {}", kind.noun, text.size(),
                kMaxManifestBytes);
  json::Value value = SKIFF_TRY(located(json::parse(text), kind.noun));
  SKIFF_TRY(check_shape(kind, value));
  std::string inside = SKIFF_TRY(located(value.get_string("mediaType", ""), kind.noun));
  given = without_parameters(given);
  std::string media_type(is_generic(given) ? std::string_view(inside) : given);
  if (media_type.empty()) media_type = kind.fallback;
  if (!kind.accepts(media_type))
    return fail(Code::kInvalidArgument, "\"{}\" is no media type of a {}", media_type, kind.noun);
  if (!inside.empty() && inside != media_type)
    return fail(Code::kInvalidArgument, "the {} says it is \"{}\", but was announced as \"{}\"",
                kind.noun, inside, media_type);
  return Document{std::move(value), std::move(media_type)};
}

Result<std::vector<Descriptor>> read_descriptors(const json::Value& document,
                                                 std::string_view key) {
  std::vector<Descriptor> out;
  if (!document.find(key)) return out;  // Go writes an empty list as null, too
  const json::Array* values = SKIFF_TRY(located(document.get_array(key), ""));
  out.reserve(values->size());
  for (const json::Value& value : *values)
    out.push_back(SKIFF_TRY(Descriptor::from_json(value, fmt::format("{}[{}]", key, out.size()))));
  return out;
}

json::Value write_descriptors(const std::vector<Descriptor>& descriptors) {
  json::Value out = json::Value::array();
  for (const Descriptor& descriptor : descriptors) out.push_back(descriptor.to_json());
  return out;
}

bool is_attestation(const Descriptor& entry) {
  if (entry.annotations.contains(std::string(kAttestationType))) return true;
  return entry.platform && entry.platform->os == "unknown" &&
         entry.platform->architecture == "unknown";
}

bool names_platform(const Descriptor& entry) {
  return entry.platform && !(entry.platform->os.empty() && entry.platform->architecture.empty());
}

std::string offered(const std::vector<Descriptor>& entries) {
  constexpr size_t kShown = 16;
  std::string out;
  size_t count = 0;
  for (const Descriptor& entry : entries) {
    if (is_attestation(entry) || !names_platform(entry)) continue;
    if (++count > kShown) continue;
    if (!out.empty()) out += ", ";
    out += entry.platform->str();
  }
  if (count > kShown) out += fmt::format(" and {} more", count - kShown);
  return out.empty() ? "nothing" : out;
}

}  // namespace

Result<Manifest> Manifest::parse(std::string_view text, std::string_view media_type) {
  Document document = SKIFF_TRY(read_document(kManifestKind, text, media_type));
  const json::Value& value = document.value;
  Manifest out;
  out.media_type = std::move(document.media_type);
  const json::Value* config = value.find("config");
  if (!config) return fail(Code::kInvalidArgument, "manifest: \"config\" is missing");
  out.config = SKIFF_TRY(Descriptor::from_json(*config, "config"));
  out.layers = SKIFF_TRY(read_descriptors(value, "layers"));
  if (const json::Value* subject = value.find("subject"))
    out.subject = SKIFF_TRY(Descriptor::from_json(*subject, "subject"));
  out.artifact_type = SKIFF_TRY(located(value.get_string("artifactType", ""), "manifest"));
  out.annotations = SKIFF_TRY(located(get_annotations(value, "annotations"), "manifest"));
  return out;
}

std::string Manifest::to_json_text() const {
  json::Value out = json::Value::object({{"schemaVersion", 2}, {"mediaType", media_type}});
  if (!artifact_type.empty()) out.set("artifactType", artifact_type);
  out.set("config", config.to_json());
  out.set("layers", write_descriptors(layers));
  if (subject) out.set("subject", subject->to_json());
  if (!annotations.empty()) out.set("annotations", to_json(annotations));
  return json::dump(out);
}

Result<Index> Index::parse(std::string_view text, std::string_view media_type) {
  Document document = SKIFF_TRY(read_document(kIndexKind, text, media_type));
  Index out;
  out.media_type = std::move(document.media_type);
  out.manifests = SKIFF_TRY(read_descriptors(document.value, "manifests"));
  out.annotations = SKIFF_TRY(located(get_annotations(document.value, "annotations"), "index"));
  return out;
}

std::string Index::to_json_text() const {
  json::Value out = json::Value::object({{"schemaVersion", 2}, {"mediaType", media_type}});
  out.set("manifests", write_descriptors(manifests));
  if (!annotations.empty()) out.set("annotations", to_json(annotations));
  return json::dump(out);
}

Result<Descriptor> Index::choose(const Platform& wanted) const {
  constexpr int kLastResort = std::numeric_limits<int>::max() - 1;
  const Descriptor* best = nullptr;
  int best_rank = std::numeric_limits<int>::max();
  for (const Descriptor& entry : manifests) {
    if (is_attestation(entry)) continue;
    std::optional<int> rank;
    if (names_platform(entry)) {
      rank = match(wanted, *entry.platform);
    } else if (is_manifest(entry.media_type) || is_index(entry.media_type)) {
      rank = kLastResort;
    }
    if (rank && *rank < best_rank) {
      best = &entry;
      best_rank = *rank;
    }
  }
  if (!best)
    return fail(Code::kNotFound, "no manifest for {}; the index offers {}", wanted.str(),
                offered(manifests));
  return *best;
}

}  // namespace skiff::oci
