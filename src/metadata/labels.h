// Labels as the database keeps them: one JSON object of strings a row, which a list reads without
// a join and a filter searches without building a map. Internal to this folder.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "metadata/rows.h"

namespace skiff::metadata {

// containerd's limit for a key and its value together.
inline constexpr size_t kMaxLabelBytes = 4096;

// InvalidArgument for an empty key or one too long with its value.
Status check_labels(const Labels& labels);
std::string encode_labels(const Labels& labels);
// DataLoss when the text is not what encode_labels writes.
Result<Labels> decode_labels(std::string_view text);
// The value of one label; `scratch` holds it where it had escapes.
std::optional<std::string_view> find_label(std::string_view text, std::string_view key,
                                           std::string& scratch);

// The time after which containerd.io/gc.expire lets go; nullopt without the label. InvalidArgument
// when it is no RFC 3339 time.
Result<std::optional<Time>> label_expiry(const Labels& labels);
inline bool label_root(const Labels& labels) { return labels.contains("containerd.io/gc.root"); }

}  // namespace skiff::metadata
