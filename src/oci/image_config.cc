#include "oci/descriptor.h"
#include "oci/fields.h"

namespace skiff::oci {
namespace {

// The names of an object's members: {"80/tcp": {}} as Go writes a set.
Result<std::vector<std::string>> get_set(const json::Value& value, std::string_view key) {
  std::vector<std::string> out;
  if (!value.find(key)) return out;
  for (const json::Member& member : *SKIFF_TRY(value.get_object(key))) out.push_back(member.key);
  return out;
}

// A list of strings; old images hold a single string instead.
Result<std::vector<std::string>> get_words(const json::Value& value, std::string_view key) {
  if (const json::Value* word = value.find(key); word && word->is_string())
    return std::vector<std::string>{std::string(*word->as_string())};
  return value.get_strings(key);
}

Status read_defaults(const json::Value& value, ImageConfig& out) {
  out.user = SKIFF_TRY(value.get_string("User", ""));
  out.env = SKIFF_TRY(value.get_strings("Env"));
  out.entrypoint = SKIFF_TRY(get_words(value, "Entrypoint"));
  out.cmd = SKIFF_TRY(get_words(value, "Cmd"));
  out.working_dir = SKIFF_TRY(value.get_string("WorkingDir", ""));
  out.volumes = SKIFF_TRY(get_set(value, "Volumes"));
  out.exposed_ports = SKIFF_TRY(get_set(value, "ExposedPorts"));
  out.stop_signal = SKIFF_TRY(value.get_string("StopSignal", ""));
  out.labels = SKIFF_TRY(get_annotations(value, "Labels"));
  return ok();
}

Result<std::vector<Digest>> read_diff_ids(const json::Value& rootfs) {
  std::string type = SKIFF_TRY(rootfs.get_string("type", "layers"));
  if (type != "layers")
    return fail(Code::kInvalidArgument, "\"type\" is \"{}\", only \"layers\" is supported", type);
  std::vector<Digest> out;
  for (const std::string& text : SKIFF_TRY(rootfs.get_strings("diff_ids")))
    out.push_back(SKIFF_TRY_WRAP(Digest::parse(text), "diff_ids[{}]", out.size()));
  return out;
}

}  // namespace

Result<ImageConfig> ImageConfig::parse(std::string_view text) {
  constexpr std::string_view kWhere = "image config";
  if (text.size() > kMaxConfigBytes)
    return fail(Code::kInvalidArgument, "{}: {} bytes, more than {}", kWhere, text.size(),
                kMaxConfigBytes);
  json::Value value = SKIFF_TRY(located(json::parse(text), kWhere));
  if (!value.is_object())
    return fail(Code::kInvalidArgument, "{}: {}, no object", kWhere, json::type_name(value.type()));
  ImageConfig out;
  out.platform.os = SKIFF_TRY(located(value.get_string("os", ""), kWhere));
  out.platform.architecture = SKIFF_TRY(located(value.get_string("architecture", ""), kWhere));
  out.platform.variant = SKIFF_TRY(located(value.get_string("variant", ""), kWhere));
  out.platform.os_version = SKIFF_TRY(located(value.get_string("os.version", ""), kWhere));
  out.created = SKIFF_TRY(located(value.get_string("created", ""), kWhere));
  out.author = SKIFF_TRY(located(value.get_string("author", ""), kWhere));
  if (const json::Value* defaults = value.find("config")) {
    if (!defaults->is_object())
      return fail(Code::kInvalidArgument, "{}: \"config\" is no object", kWhere);
    SKIFF_TRY(located(read_defaults(*defaults, out), "image config: config"));
  }
  const json::Value* rootfs = value.find("rootfs");
  if (!rootfs || !rootfs->is_object())
    return fail(Code::kInvalidArgument, "{}: \"rootfs\" is missing or no object", kWhere);
  out.diff_ids = SKIFF_TRY(located(read_diff_ids(*rootfs), "image config: rootfs"));
  return out;
}

}  // namespace skiff::oci
