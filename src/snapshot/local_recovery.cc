// Rows against folders: putting right what a crash left, and fsck.
#include <map>
#include <set>

#include "base/log.h"
#include "snapshot/intent.h"
#include "snapshot/local_snapshotter.h"

namespace skiff::snapshot {
namespace {

using metadata::Durability;
using metadata::Reader;
using metadata::Transaction;

const CrashPoint kUndoIntent{"snapshot.recover.intent"};

}  // namespace

Result<LocalSnapshotter::Recovery> LocalSnapshotter::recover(const Context& context) {
  Recovery done;
  SKIFF_TRY(undo_intents(context, done));
  SKIFF_TRY(recover_folders(context, done));
  done.suspects = SKIFF_TRY(find_suspects(context));
  return done;
}

Status LocalSnapshotter::undo_intents(const Context& context, Recovery& done) {
  std::vector<metadata::Intent> intents;
  SKIFF_TRY(metadata_.read(context, [&](Reader& reader) -> Status {
    intents = SKIFF_TRY(metadata::intents::list(reader));
    return ok();
  }));
  for (const metadata::Intent& intent : intents) {
    if (intent.kind != kPrepareIntent) continue;
    auto prepare = parse_intent(intent.body);
    if (!prepare || prepare->snapshotter != name()) continue;
    SKIFF_TRY(driver_->remove(prepare->id));
    SKIFF_TRY(metadata_.write(context, kUndoIntent, Durability::kRides, [&](Transaction& txn) {
      return metadata::intents::remove(txn, intent.id);
    }));
    done.intents_undone += 1;
  }
  return ok();
}

// Every snapshot that has a row, whichever namespace names it; parents of those not committed only,
// since nobody makes a committed one again here.
Result<std::map<int64_t, Place>> LocalSnapshotter::places(Reader& reader) {
  std::map<int64_t, Place> all;
  for (const auto& row : SKIFF_TRY(metadata::snapshots::list_shared(reader, name())))
    all.emplace(row.id, row.kind == Kind::kCommitted ? Place{row.id, row.kind, {}}
                                                     : SKIFF_TRY(place_of(reader, row)));
  return all;
}

// Ids whose folders are on their way in or out.
Result<std::set<int64_t>> LocalSnapshotter::moving(Reader& reader) {
  std::set<int64_t> ids;
  for (const auto& intent : SKIFF_TRY(metadata::intents::list(reader)))
    if (auto prepare = parse_intent(intent.body); intent.kind == kPrepareIntent && prepare)
      ids.insert(prepare->id);
  for (const auto& tombstone : SKIFF_TRY(metadata::tombstones::list(reader)))
    if (auto id = tombstone_id(name(), tombstone.kind, tombstone.path)) ids.insert(*id);
  return ids;
}

Result<LocalSnapshotter::Rows> LocalSnapshotter::rows(const Context& context) {
  Rows rows;
  SKIFF_TRY(metadata_.read(context, [&](Reader& reader) -> Status {
    rows.places = SKIFF_TRY(places(reader));
    rows.moving = SKIFF_TRY(moving(reader));
    return ok();
  }));
  return rows;
}

Status LocalSnapshotter::recover_folders(const Context& context, Recovery& done) {
  auto rows = SKIFF_TRY(this->rows(context)).places;
  for (const auto& [id, place] : rows) {
    SKIFF_TRY(context.check());
    if (place.kind == Kind::kCommitted) {
      driver_->seal(id);  // the crash may have come between the commit and this
      continue;
    }
    // Active ones are not synced by us. Where not even the folder outlived a power loss, nothing
    // written in it did: it begins again.
    if (!driver_->check(place)) continue;
    log::warning("an active snapshot lost its folder and is empty now", {{"id", id}});
    SKIFF_TRY(driver_->make(context, place));
    done.folders_remade += 1;
  }
  for (const std::string& entry : SKIFF_TRY(sys::list_dir(folder_))) {
    auto id = parse_id(entry);
    if (!id || rows.contains(*id)) continue;
    SKIFF_TRY(driver_->remove(*id));
    done.folders_removed += 1;
  }
  return ok();
}

Result<std::vector<Finding>> LocalSnapshotter::fsck(const Context& context) {
  // Folders before rows: what a folder belongs to, a row, an intent or a tombstone, stands then.
  auto entries = SKIFF_TRY(sys::list_dir(folder_));
  Rows rows = SKIFF_TRY(this->rows(context));
  std::vector<Finding> findings;
  std::vector<int64_t> doubtful;
  for (const auto& [id, place] : rows.places)
    if (driver_->check(place)) doubtful.push_back(id);
  if (!doubtful.empty()) {
    // A commit or removal may have come between the rows and the look; it does so only once.
    auto again = SKIFF_TRY(this->rows(context)).places;
    for (int64_t id : doubtful)
      if (auto row = again.find(id); row != again.end())
        if (auto finding = driver_->check(row->second)) findings.push_back(*std::move(finding));
  }
  for (const std::string& entry : entries) {
    sys::Path path = folder_ / entry;
    auto id = parse_id(entry);
    if (!sys::path_exists(path)) continue;
    if (!id)
      findings.push_back({"snapshot-stray", path.string(), "its name is no snapshot id"});
    else if (!rows.places.contains(*id) && !rows.moving.contains(*id))
      findings.push_back({"layer-orphan", path.string(), "there is a folder, but no row"});
  }
  return findings;
}

}  // namespace skiff::snapshot
