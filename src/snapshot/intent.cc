#include "snapshot/intent.h"

#include <charconv>

#include "codec/json/json.h"

namespace skiff::snapshot {

std::string intent_body(const PrepareIntent& intent) {
  return json::dump(json::Value::object({{"snapshotter", intent.snapshotter}, {"id", intent.id}}));
}

std::optional<PrepareIntent> parse_intent(std::string_view body) {
  auto value = json::parse(body);
  if (!value) return std::nullopt;
  auto snapshotter = value->get_string("snapshotter");
  auto id = value->get_int("id");
  if (!snapshotter || !id) return std::nullopt;
  return PrepareIntent{*std::move(snapshotter), *id};
}

std::optional<int64_t> parse_id(std::string_view name) {
  int64_t id = 0;
  auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), id);
  bool whole = error == std::errc() && end == name.data() + name.size();
  return whole && id > 0 && name[0] != '0' ? std::optional(id) : std::nullopt;
}

std::optional<int64_t> tombstone_id(std::string_view snapshotter, std::string_view kind,
                                    std::string_view path) {
  if (kind != "snapshot" || !path.starts_with(snapshotter)) return std::nullopt;
  path.remove_prefix(snapshotter.size());
  return path.starts_with('/') ? parse_id(path.substr(1)) : std::nullopt;
}

}  // namespace skiff::snapshot
