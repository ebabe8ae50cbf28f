#include "oci/descriptor.h"

#include "oci/fields.h"

namespace skiff::oci {
namespace {

Result<Platform> platform_from_json(const json::Value& value) {
  Platform platform;
  platform.os = SKIFF_TRY(value.get_string("os", ""));
  platform.architecture = SKIFF_TRY(value.get_string("architecture", ""));
  platform.variant = SKIFF_TRY(value.get_string("variant", ""));
  platform.os_version = SKIFF_TRY(value.get_string("os.version", ""));
  return platform;
}

json::Value platform_to_json(const Platform& platform) {
  json::Value out =
      json::Value::object({{"architecture", platform.architecture}, {"os", platform.os}});
  if (!platform.os_version.empty()) out.set("os.version", platform.os_version);
  if (!platform.variant.empty()) out.set("variant", platform.variant);
  return out;
}

}  // namespace

Result<Annotations> get_annotations(const json::Value& value, std::string_view key) {
  Annotations out;
  if (!value.find(key)) return out;
  for (const json::Member& member : *SKIFF_TRY(value.get_object(key))) {
    if (member.value.is_null()) {  // Go reads null as the empty string
      out[member.key];
      continue;
    }
    out[member.key] = SKIFF_TRY_WRAP(member.value.as_string(), "\"{}\": \"{}\"", key, member.key);
  }
  return out;
}

json::Value to_json(const Annotations& annotations) {
  json::Value out = json::Value::object();
  for (const auto& [key, value] : annotations) out.set(key, value);
  return out;
}

Result<Descriptor> Descriptor::from_json(const json::Value& value, std::string_view where) {
  Descriptor out;
  out.media_type = SKIFF_TRY(located(value.get_string("mediaType"), where));
  if (out.media_type.empty())
    return fail(Code::kInvalidArgument, "{}: \"mediaType\" is empty", where);
  std::string digest = SKIFF_TRY(located(value.get_string("digest"), where));
  out.digest = SKIFF_TRY(located(Digest::parse(digest), where));
  out.size = SKIFF_TRY(located(value.get_uint("size"), where));
  // Sizes become signed file offsets below.
  if (out.size > INT64_MAX) return fail(Code::kInvalidArgument, "{}: \"size\" is too large", where);
  out.urls = SKIFF_TRY(located(value.get_strings("urls"), where));
  out.annotations = SKIFF_TRY(located(get_annotations(value, "annotations"), where));
  out.artifact_type = SKIFF_TRY(located(value.get_string("artifactType", ""), where));
  if (const json::Value* platform = value.find("platform")) {
    if (!platform->is_object())
      return fail(Code::kInvalidArgument, "{}: \"platform\" is no object", where);
    out.platform =
        SKIFF_TRY(located(platform_from_json(*platform), fmt::format("{}: platform", where)));
  }
  return out;
}

json::Value Descriptor::to_json() const {
  json::Value out =
      json::Value::object({{"mediaType", media_type}, {"digest", digest.str()}, {"size", size}});
  if (!urls.empty()) out.set("urls", json::Value::array(urls));
  if (!annotations.empty()) out.set("annotations", oci::to_json(annotations));
  if (platform) out.set("platform", platform_to_json(*platform));
  if (!artifact_type.empty()) out.set("artifactType", artifact_type);
  return out;
}

}  // namespace skiff::oci
