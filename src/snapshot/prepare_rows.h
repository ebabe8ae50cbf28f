// The two transactions of a prepare, which every Snapshotter over metadata rows makes: an intent
// with the id before anything is made, the row in the intent's place after.
#pragma once

#include <cstdint>
#include <string>

#include "snapshot/snapshotter.h"

namespace skiff::snapshot {

struct Begun {
  int64_t intent = 0;
  int64_t id = 0;
  SnapshotInfo parent;  // its id is 0 for none
};

// What would fail is refused here, before anything is made: AlreadyExists for a key that is taken
// or a target (kTargetLabel) that is committed, NotFound or InvalidArgument for the parent. Only
// the key and parent of `info` count, and its labels.
Result<Begun> begin_prepare(metadata::Transaction& txn, const std::string& ns,
                            const SnapshotInfo& info);
// `info` whole but for its id.
Status finish_prepare(metadata::Transaction& txn, const std::string& ns, const Begun& begun,
                      SnapshotInfo info, const std::string& lease);

}  // namespace skiff::snapshot
