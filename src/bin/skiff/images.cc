#include <algorithm>

#include "bin/skiff/commands.h"
#include "bin/skiff/daemon.h"
#include "bin/skiff/output.h"
#include "bin/skiff/text.h"
#include "oci/reference.h"

namespace skiff::cli {
namespace {

using namespace native;

json::Value to_json(const Labels& labels) {
  json::Value out = json::Value::object();
  for (const auto& [key, value] : labels) out.set(key, value);
  return out;
}

json::Value to_json(const Image& image) {
  return json::Value::object({{"name", image.name},
                              {"digest", image.digest},
                              {"media_type", image.media_type},
                              {"config", image.config_digest},
                              {"size", image.size},
                              {"platform", image.platform},
                              {"created", image.created},
                              {"updated", rfc3339(image.updated)},
                              {"labels", to_json(image.labels)}});
}

// "redis" and "7"; a name without a tag shows "<none>".
std::pair<std::string, std::string> split_name(const std::string& name) {
  auto reference = oci::Reference::parse(name);
  if (!reference) return {name, "<none>"};
  std::string text = reference->familiar();
  std::string tail = reference->tag().value_or("");
  std::string suffix = (reference->tag() ? ":" + tail : "") +
                       (reference->digest() ? "@" + reference->digest()->str() : "");
  return {text.substr(0, text.size() - suffix.size()), tail.empty() ? "<none>" : tail};
}

std::string table_of(const std::vector<Image>& images, bool digests) {
  Table table(
      {"REPOSITORY", "TAG", digests ? "DIGEST" : "IMAGE ID", "PLATFORM", "CREATED", "SIZE"});
  int64_t now = now_nanoseconds();
  for (const Image& image : images) {
    auto [repository, tag] = split_name(image.name);
    const std::string& id = image.config_digest.empty() ? image.digest : image.config_digest;
    table.add({repository, tag, digests ? image.digest : std::string(short_digest(id)),
               image.platform.empty() ? "-" : image.platform,
               age(std::string_view(image.created), now),
               image.size > 0 ? human_bytes(image.size) : "-"});
  }
  return printable(table.text());
}

json::Value embedded(const std::string& text) {
  auto document = json::parse(text);
  return document ? *std::move(document) : json::Value(text);
}

// Does `each` for every name, all of them, and fails when one of them failed.
template <typename Each>
int for_names(const std::vector<std::string>& names, Each each) {
  int status = 0;
  for (const std::string& name : names) {
    Status done = each(name);
    if (done) continue;
    complain(done.error().message());
    status = kFailure;
  }
  return status;
}

}  // namespace

Result<int> images(const Global& global, const ImagesOptions& options) {
  Daemon daemon = SKIFF_TRY(Daemon::connect(global));
  auto response = SKIFF_TRY(
      daemon.call<ListImagesResponse>(kImagesService, "List", ListImagesRequest{options.filters}));
  if (global.json) {
    json::Value out = json::Value::array();
    for (const Image& image : response.images) out.push_back(to_json(image));
    print_json(out);
  } else if (options.quiet) {
    for (const Image& image : response.images) print_line(image.name);
  } else {
    print(table_of(response.images, options.digests));
  }
  return 0;
}

Result<int> inspect(const Global& global, const InspectOptions& options) {
  Daemon daemon = SKIFF_TRY(Daemon::connect(global));
  json::Value out = json::Value::array();
  int status = for_names(options.names, [&](const std::string& name) -> Status {
    auto image = SKIFF_TRY(daemon.call<InspectImageResponse>(
        kImagesService, "Inspect", InspectImageRequest{name, options.platform}));
    json::Value value = to_json(image.image);
    value.set("names", json::Value::array(image.names));
    value.set("chain_id", image.chain_id);
    value.set("manifest", embedded(image.manifest_json));
    value.set("image_config", embedded(image.config_json));
    out.push_back(std::move(value));
    return ok();
  });
  print_json(out);
  return status;
}

Result<int> tag(const Global& global, const TagOptions& options) {
  Daemon daemon = SKIFF_TRY(Daemon::connect(global));
  auto response = SKIFF_TRY(daemon.call<TagImageResponse>(
      kImagesService, "Tag", TagImageRequest{options.source, options.target}));
  if (global.json) print_json(json::Value::object({{"name", response.name}}));
  return 0;
}

Result<int> remove_images(const Global& global, const RemoveOptions& options) {
  Daemon daemon = SKIFF_TRY(Daemon::connect(global));
  json::Value removed = json::Value::array();
  int status = for_names(options.names, [&](const std::string& name) -> Status {
    auto response =
        daemon.call<RemoveImageResponse>(kImagesService, "Remove", RemoveImageRequest{name});
    if (!response && options.force && response.error().is(Code::kNotFound)) return ok();
    if (!response) return std::unexpected(response.error());
    removed.push_back(json::Value::object({{"name", response->name}, {"last", response->last}}));
    if (!global.json)
      print_line((response->last ? "removed " : "untagged ") + familiar(response->name));
    return ok();
  });
  if (global.json) print_json(removed);
  return status;
}

}  // namespace skiff::cli
