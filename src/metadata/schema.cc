#include "metadata/schema.h"

#include <charconv>

namespace skiff::metadata {
namespace {

// "skif", so that file(1) and we know the database.
constexpr int kApplicationId = 0x736b6966;

// Names that hold in all tables: `ns` a namespace; `labels` a JSON object of strings; times in
// nanoseconds since 1970; `touched` the write generation that last gave the row a reason to live
// (gc.cc); `written` the generation in which its bytes were written, `unconfirmed_boot` the boot in
// which that was, empty once a sync has confirmed them (confirm.cc); `root` and `expires` what the
// labels containerd.io/gc.root and gc.expire say.
constexpr char kVersion1[] = R"sql(
CREATE TABLE namespaces (
  name TEXT PRIMARY KEY NOT NULL
) WITHOUT ROWID;

CREATE TABLE images (
  ns TEXT NOT NULL REFERENCES namespaces,
  name TEXT NOT NULL,
  digest TEXT NOT NULL,
  target TEXT NOT NULL,
  media_type TEXT NOT NULL,
  labels TEXT NOT NULL,
  created INTEGER NOT NULL,
  updated INTEGER NOT NULL,
  expires INTEGER,
  touched INTEGER NOT NULL,
  PRIMARY KEY (ns, name)
) WITHOUT ROWID;

-- The bytes of a blob, shared by all namespaces.
CREATE TABLE blobs (
  digest TEXT PRIMARY KEY NOT NULL,
  size INTEGER NOT NULL,
  created INTEGER NOT NULL,
  written INTEGER NOT NULL,
  unconfirmed_boot TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX blobs_unconfirmed ON blobs (unconfirmed_boot) WHERE unconfirmed_boot <> '';

CREATE TABLE blob_names (
  ns TEXT NOT NULL REFERENCES namespaces,
  digest TEXT NOT NULL REFERENCES blobs,
  labels TEXT NOT NULL,
  created INTEGER NOT NULL,
  updated INTEGER NOT NULL,
  root INTEGER NOT NULL,
  touched INTEGER NOT NULL,
  PRIMARY KEY (ns, digest)
) WITHOUT ROWID;
CREATE INDEX blob_names_by_digest ON blob_names (digest);

CREATE TABLE ingests (
  ns TEXT NOT NULL REFERENCES namespaces,
  ref TEXT NOT NULL,
  id TEXT NOT NULL UNIQUE,
  offset INTEGER NOT NULL,
  total INTEGER NOT NULL,
  expected TEXT NOT NULL,
  boot TEXT NOT NULL,
  started INTEGER NOT NULL,
  updated INTEGER NOT NULL,
  expires INTEGER NOT NULL,
  touched INTEGER NOT NULL,
  PRIMARY KEY (ns, ref)
) WITHOUT ROWID;

-- The layers, shared by all namespaces. AUTOINCREMENT: an id, and so a folder, is never used again.
CREATE TABLE snapshots (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  snapshotter TEXT NOT NULL,
  parent_id INTEGER REFERENCES snapshots,
  kind INTEGER NOT NULL,
  chain_id TEXT,
  created INTEGER NOT NULL,
  written INTEGER NOT NULL,
  unconfirmed_boot TEXT NOT NULL,
  usage_bytes INTEGER NOT NULL,
  usage_inodes INTEGER NOT NULL,
  layer_source TEXT NOT NULL,
  UNIQUE (snapshotter, chain_id)
);
CREATE INDEX snapshots_by_parent ON snapshots (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX snapshots_unconfirmed ON snapshots (unconfirmed_boot) WHERE unconfirmed_boot <> '';

CREATE TABLE snapshot_names (
  ns TEXT NOT NULL REFERENCES namespaces,
  snapshotter TEXT NOT NULL,
  key TEXT NOT NULL,
  id INTEGER NOT NULL REFERENCES snapshots,
  labels TEXT NOT NULL,
  created INTEGER NOT NULL,
  updated INTEGER NOT NULL,
  root INTEGER NOT NULL,
  touched INTEGER NOT NULL,
  PRIMARY KEY (ns, snapshotter, key),
  UNIQUE (id, ns)
) WITHOUT ROWID;

CREATE TABLE leases (
  ns TEXT NOT NULL REFERENCES namespaces,
  id TEXT NOT NULL,
  labels TEXT NOT NULL,
  created INTEGER NOT NULL,
  expires INTEGER,
  flat INTEGER NOT NULL,
  touched INTEGER NOT NULL,
  PRIMARY KEY (ns, id)
) WITHOUT ROWID;

CREATE TABLE containers (
  ns TEXT NOT NULL REFERENCES namespaces,
  id TEXT NOT NULL,
  name TEXT NOT NULL,
  image TEXT NOT NULL,
  snapshotter TEXT NOT NULL,
  snapshot_key TEXT NOT NULL,
  spec TEXT NOT NULL,
  state TEXT NOT NULL,
  labels TEXT NOT NULL,
  created INTEGER NOT NULL,
  updated INTEGER NOT NULL,
  PRIMARY KEY (ns, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX containers_by_name ON containers (ns, name) WHERE name <> '';

-- Who keeps whom, within a namespace. Types are containerd's for leases (content, ingests, images,
-- leases, snapshots/<snapshotter>) and containers. A structural edge (an image's target, a parent,
-- a lease's resource, a container's snapshot) holds below a flat lease too, one made by a label not.
-- The target need not exist.
CREATE TABLE refs (
  ns TEXT NOT NULL REFERENCES namespaces,
  from_type TEXT NOT NULL,
  from_id TEXT NOT NULL,
  to_type TEXT NOT NULL,
  to_id TEXT NOT NULL,
  structural INTEGER NOT NULL,
  PRIMARY KEY (ns, from_type, from_id, to_type, to_id, structural)
) WITHOUT ROWID;
CREATE INDEX refs_by_target ON refs (ns, to_type, to_id);

CREATE TABLE intents (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  kind TEXT NOT NULL,
  body TEXT NOT NULL
);

CREATE TABLE tombstones (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  kind TEXT NOT NULL,
  path TEXT NOT NULL,
  UNIQUE (kind, path)
);
)sql";

constexpr const char* kMigrations[] = {kVersion1};
static_assert(std::size(kMigrations) == kSchemaVersion);

Result<int> pragma_int(Connection& connection, const char* pragma) {
  std::string text = SKIFF_TRY(connection.pragma(pragma));
  int value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

Status apply(Connection& writer, int version) {
  SKIFF_TRY(writer.exec("BEGIN IMMEDIATE"));
  std::string head =
      fmt::format("PRAGMA application_id={};PRAGMA user_version={};", kApplicationId, version + 1);
  Status status = writer.exec(head.c_str());
  if (status) status = writer.exec(kMigrations[version]);
  if (status) status = writer.exec("COMMIT");
  if (!status) (void)writer.exec("ROLLBACK");
  return status;
}

}  // namespace

Status migrate(Connection& writer) {
  int version = SKIFF_TRY(pragma_int(writer, "PRAGMA user_version"));
  int application = SKIFF_TRY(pragma_int(writer, "PRAGMA application_id"));
  int tables = SKIFF_TRY(pragma_int(writer, "SELECT count(*) FROM sqlite_schema"));
  if (tables != 0 && application != kApplicationId)
    return fail(Code::kFailedPrecondition, "the database is not skiff's (application id {:#x})",
                application);
  if (version > kSchemaVersion)
    return fail(Code::kFailedPrecondition,
                "the database has schema version {}, this skiffd knows {}: use the newer skiffd",
                version, kSchemaVersion);
  for (; version < kSchemaVersion; ++version)
    SKIFF_TRY_WRAP(apply(writer, version), "migrate metadata to schema version {}", version + 1);
  return ok();
}

}  // namespace skiff::metadata
