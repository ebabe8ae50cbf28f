// How rows are called in the backend.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "snapshot/snapshotter.h"

namespace skiff::snapshot {

std::string active_name(int64_t id);     // "skiff/12/active", views too
std::string committed_name(int64_t id);  // "skiff/12"
// Of the row that it is; a layer that the backend made itself has the backend's name, its key.
std::string backend_name(const SnapshotInfo& info);
bool made_by_backend(const SnapshotInfo& info);
// The id that one of our names carries; nothing for another's.
std::optional<int64_t> id_of(std::string_view backend_name);

// The labels that containerd passes on to backends.
Labels inherited(const Labels& labels);

}  // namespace skiff::snapshot
