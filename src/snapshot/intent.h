// What recovery reads: the intent of a prepare, tombstones, names of folders.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace skiff::snapshot {

inline constexpr char kPrepareIntent[] = "snapshot.prepare";

struct PrepareIntent {
  std::string snapshotter;
  int64_t id = 0;
};
// {"snapshotter":"overlay","id":12}
std::string intent_body(const PrepareIntent& intent);
// Nothing when the text is not such a body.
std::optional<PrepareIntent> parse_intent(std::string_view body);

// The id that a folder's name is; nothing for another name.
std::optional<int64_t> parse_id(std::string_view name);
// The id in a tombstone of this snapshotter ("snapshot", "overlay/12"); nothing in another's.
std::optional<int64_t> tombstone_id(std::string_view snapshotter, std::string_view kind,
                                    std::string_view path);

}  // namespace skiff::snapshot
