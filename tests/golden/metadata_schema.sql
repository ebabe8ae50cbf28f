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
