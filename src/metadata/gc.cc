#include "metadata/gc.h"

#include <algorithm>
#include <condition_variable>
#include <span>

#include <malloc.h>

#include "base/guarded.h"
#include "base/log.h"
#include "metadata/refs.h"
#include "metadata/rows.h"
#include "metadata/sqlite.h"

namespace skiff::metadata {
namespace {

const CrashPoint kSweep{"metadata.gc.sweep"};
const CrashPoint kBury{"metadata.gc.bury"};

// Rows a transaction: about a millisecond of the writer's time.
constexpr size_t kBatch = 32;

struct Dead {
  std::string ns;
  std::string type;
  std::string id;
};

// What lives, in a table of the reader's own that goes with its transaction. A row is there twice
// when a flat lease and something else keep it.
constexpr char kLiveTable[] = R"sql(
  CREATE TEMP TABLE live (
    ns TEXT, type TEXT, id TEXT, flat INTEGER, PRIMARY KEY (ns, type, id, flat)) WITHOUT ROWID)sql";

constexpr Sql kMark = R"sql(
  INSERT INTO temp.live
  WITH RECURSIVE reached (ns, type, id, flat) AS (
    SELECT ns, 'images', name, 0 FROM images WHERE expires IS NULL OR expires > ?1
    UNION SELECT ns, 'leases', id, flat FROM leases WHERE expires IS NULL OR expires > ?1
    UNION SELECT ns, 'containers', id, 0 FROM containers
    UNION SELECT ns, 'content', digest, 0 FROM blob_names WHERE root
    UNION SELECT ns, 'snapshots/' || snapshotter, key, 0 FROM snapshot_names WHERE root
    UNION SELECT ns, 'ingests', ref, 0 FROM ingests WHERE expires > ?1
    UNION
    SELECT r.ns, r.to_type, r.to_id, reached.flat
    FROM reached JOIN refs r
      ON r.ns = reached.ns AND r.from_type = reached.type AND r.from_id = reached.id
    WHERE r.structural OR NOT reached.flat)
  SELECT * FROM reached)sql";

// In the order of the sweep: leases and images let go first, children before their parents.
constexpr Sql kDead = R"sql(
  WITH RECURSIVE tree (id, depth) AS (
    SELECT id, 0 FROM snapshots WHERE parent_id IS NULL
    UNION ALL
    SELECT s.id, depth + 1 FROM tree JOIN snapshots s ON s.parent_id = tree.id),
  named (ns, type, id, turn) AS (
    SELECT ns, 'leases', id, -4 FROM leases
    UNION ALL SELECT ns, 'images', name, -3 FROM images
    UNION ALL SELECT ns, 'ingests', ref, -2 FROM ingests
    UNION ALL SELECT ns, 'content', digest, -1 FROM blob_names
    UNION ALL SELECT n.ns, 'snapshots/' || n.snapshotter, n.key, 1000000 - depth
              FROM snapshot_names n JOIN tree USING (id))
  SELECT ns, type, id FROM named
  WHERE NOT EXISTS (SELECT 1 FROM temp.live l
                    WHERE l.ns = named.ns AND l.type = named.type AND l.id = named.id)
  ORDER BY turn, ns, id)sql";

// Up from one row (?1 ns, ?2 type, ?3 id): is there a root now (?5 its time), or a row touched
// since the mark (?4)? `structural`: no edge on the way was a label's, so that a flat lease counts.
constexpr Sql kKept = R"sql(
  WITH RECURSIVE up (type, id, structural) AS (
    VALUES (?2, ?3, 1)
    UNION
    SELECT r.from_type, r.from_id, up.structural AND r.structural
    FROM up JOIN refs r ON r.ns = ?1 AND r.to_type = up.type AND r.to_id = up.id)
  SELECT 1 FROM up WHERE CASE type
    WHEN 'content' THEN EXISTS (
      SELECT 1 FROM blob_names n WHERE n.ns = ?1 AND n.digest = up.id AND (root OR touched > ?4))
    WHEN 'images' THEN EXISTS (
      SELECT 1 FROM images n WHERE n.ns = ?1 AND n.name = up.id
      AND (expires IS NULL OR expires > ?5 OR touched > ?4))
    WHEN 'leases' THEN EXISTS (
      SELECT 1 FROM leases n WHERE n.ns = ?1 AND n.id = up.id AND (up.structural OR NOT flat)
      AND (expires IS NULL OR expires > ?5 OR touched > ?4))
    WHEN 'ingests' THEN EXISTS (
      SELECT 1 FROM ingests n WHERE n.ns = ?1 AND n.ref = up.id AND (expires > ?5 OR touched > ?4))
    WHEN 'containers' THEN EXISTS (SELECT 1 FROM containers n WHERE n.ns = ?1 AND n.id = up.id)
    ELSE EXISTS (
      SELECT 1 FROM snapshot_names n WHERE n.ns = ?1 AND n.key = up.id
      AND n.snapshotter = substr(up.type, length('snapshots/') + 1) AND (root OR touched > ?4))
    END
  LIMIT 1)sql";

Result<std::vector<Dead>> mark(const Context& context, Store& store, Time time) {
  std::vector<Dead> dead;
  Status status = store.read(context, [&](Reader& reader) -> Status {
    SKIFF_TRY(reader.connection().exec(kLiveTable));
    Statement mark(reader, kMark, time);
    SKIFF_TRY(mark.run());
    Statement rows(reader, kDead);
    while (SKIFF_TRY(rows.next())) dead.push_back({rows.string(0), rows.string(1), rows.string(2)});
    return ok();
  });
  if (!status) return std::unexpected(std::move(status).error().wrap("collect garbage: mark"));
  return dead;
}

// Deletes one row and counts it.
Status remove_row(Transaction& txn, const Dead& dead, GcStats& stats) {
  uint64_t* count = nullptr;
  Status removed;
  if (dead.type == refs::kContent) {
    count = &stats.blobs;
    removed = blobs::remove(txn, dead.ns, SKIFF_TRY(Digest::parse(dead.id)));
  } else if (dead.type == refs::kImages) {
    count = &stats.images;
    removed = images::remove(txn, dead.ns, dead.id);
  } else if (dead.type == refs::kLeases) {
    count = &stats.leases;
    removed = leases::remove(txn, dead.ns, dead.id);
  } else if (dead.type == refs::kIngests) {
    count = &stats.ingests;
    removed = ingests::remove(txn, dead.ns, dead.id);
  } else {
    count = &stats.snapshots;
    std::string snapshotter = dead.type.substr(dead.type.find('/') + 1);
    removed = snapshots::remove(txn, dead.ns, snapshotter, dead.id);
  }
  if (removed) {
    ++*count;
    return ok();
  }
  // Both are found before anything changes: it went another way, or something stands on it.
  if (removed.error().is(Code::kNotFound)) return ok();
  if (!removed.error().is(Code::kFailedPrecondition)) return removed;
  stats.kept++;
  return ok();
}

Status sweep_batch(Transaction& txn, std::span<const Dead> batch, uint64_t marked, Time time,
                   GcStats& stats) {
  for (const Dead& dead : batch) {
    bool kept = false;
    {
      Statement up(txn, kKept, dead.ns, dead.type, dead.id, marked, time);
      kept = SKIFF_TRY(up.exists());
    }
    if (kept) {
      stats.kept++;
    } else {
      SKIFF_TRY(remove_row(txn, dead, stats));
    }
  }
  return ok();
}

Status sweep(const Context& context, Store& store, const std::vector<Dead>& dead, uint64_t marked,
             Time time, GcStats& stats) {
  std::span<const Dead> rest(dead);
  while (!rest.empty()) {
    std::span<const Dead> batch = rest.first(std::min(kBatch, rest.size()));
    rest = rest.subspan(batch.size());
    GcStats counted = stats;
    SKIFF_TRY_WRAP(store.write(context, kSweep, Durability::kRides,
                               [&](Transaction& txn) {
                                 return sweep_batch(txn, batch, marked, time, counted);
                               }),
                   "collect garbage: sweep");
    stats = counted;
  }
  return ok();
}

// One collection at a time; a second caller waits for its turn.
class Turn {
 public:
  static Result<Turn> take(const Context& context) {
    auto busy = busy_.lock();
    auto until = context.deadline().value_or(Context::Clock::time_point::max());
    busy.wait_until(freed_, context.stop_token(), until, [&] { return !*busy; });
    SKIFF_TRY(context.check());
    *busy = true;
    return Turn();
  }
  Turn(Turn&& other) noexcept : held_(std::exchange(other.held_, false)) {}
  ~Turn() {
    if (!held_) return;
    *busy_.lock() = false;
    freed_.notify_one();
  }

 private:
  Turn() = default;
  bool held_ = true;
  static inline Guarded<bool> busy_;
  static inline std::condition_variable_any freed_;
};

}  // namespace

Result<GcStats> collect(const Context& context, Store& store) {
  using Clock = std::chrono::steady_clock;
  Turn turn = SKIFF_TRY(Turn::take(context));
  GcStats stats;
  Time time = now();
  auto begin = Clock::now();
  // Taken before the snapshot, which then shows at least all up to it.
  uint64_t marked = store.generation();
  std::vector<Dead> dead = SKIFF_TRY(mark(context, store, time));
  auto middle = Clock::now();
  stats.mark = middle - begin;
  SKIFF_TRY(sweep(context, store, dead, marked, time, stats));
  stats.sweep = Clock::now() - middle;
  malloc_trim(0);  // the mark's table is the largest thing that an idle daemon ever held
  bool anything = stats.blobs + stats.snapshots + stats.ingests + stats.leases + stats.images > 0;
  log::write(anything ? log::Level::kInfo : log::Level::kDebug, "garbage collected",
             {{"blobs", stats.blobs},
              {"snapshots", stats.snapshots},
              {"ingests", stats.ingests},
              {"leases", stats.leases},
              {"images", stats.images},
              {"kept", stats.kept},
              {"mark_seconds", std::chrono::duration<double>(stats.mark).count()},
              {"sweep_seconds", std::chrono::duration<double>(stats.sweep).count()}});
  return stats;
}

Status sweep_tombstones(
    const Context& context, Store& store,
    const std::function<Status(const std::string& kind, const std::string& path)>& remove) {
  std::vector<Tombstone> tombstones;
  SKIFF_TRY(store.read(context, [&](Reader& reader) -> Status {
    tombstones = SKIFF_TRY(tombstones::list(reader));
    return ok();
  }));
  if (tombstones.empty()) return ok();
  // The removal of the rows may still ride: a power loss must not bring them back without files.
  SKIFF_TRY(store.flush(context));
  Status first;
  for (const Tombstone& tombstone : tombstones) {
    SKIFF_TRY(context.check());
    Status removed = remove(tombstone.kind, tombstone.path);
    if (!removed) {
      log::warning("cannot remove what garbage collection freed; it is tried again",
                   {{"path", tombstone.path}, {"error", removed.error()}});
      if (first) first = std::move(removed);
      continue;
    }
    Status buried = store.write(context, kBury, Durability::kRides, [&](Transaction& txn) {
      return tombstones::remove(txn, tombstone.id);
    });
    if (!buried && !buried.error().is(Code::kNotFound)) return buried;
  }
  return first;
}

}  // namespace skiff::metadata
