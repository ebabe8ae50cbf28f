#include "snapshot/proxy/names.h"

#include "snapshot/intent.h"

namespace skiff::snapshot {
namespace {

constexpr std::string_view kPrefix = "skiff/";
constexpr std::string_view kActive = "/active";
constexpr std::string_view kInherited = "containerd.io/snapshot/";

}  // namespace

std::string active_name(int64_t id) { return fmt::format("{}{}{}", kPrefix, id, kActive); }
std::string committed_name(int64_t id) { return fmt::format("{}{}", kPrefix, id); }

bool made_by_backend(const SnapshotInfo& info) {
  if (info.kind != Kind::kCommitted || !info.labels.contains(kRemoteMadeLabel)) return false;
  auto target = info.labels.find(kTargetLabel);
  return target != info.labels.end() && target->second == info.key;
}

std::string backend_name(const SnapshotInfo& info) {
  if (made_by_backend(info)) return info.key;
  return info.kind == Kind::kCommitted ? committed_name(info.id) : active_name(info.id);
}

std::optional<int64_t> id_of(std::string_view name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  if (name.ends_with(kActive)) name.remove_suffix(kActive.size());
  return parse_id(name);
}

Labels inherited(const Labels& labels) {
  Labels passed;
  for (const auto& [key, value] : labels)
    if (key.starts_with(kInherited) || key == kTargetLabel) passed[key] = value;
  return passed;
}

}  // namespace skiff::snapshot
