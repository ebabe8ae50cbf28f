// The database's side of fsck: SQLite's own checks and the rules that rows keep among themselves.
// Rows against files are content's and snapshot's to check.
#pragma once

#include <vector>

#include "base/context.h"
#include "base/finding.h"
#include "metadata/store.h"

namespace skiff::metadata {

// Changes nothing; safe beside other work. The kinds, those with a star repairable:
// - database-damaged: SQLite finds pages or indexes wrong; the file is lost, its blobs may not be
// - row-dangling: a row names a row that is not there (foreign keys)
// - row-unreadable: a digest or labels that are not what skiff writes
// - edge-orphan*: an edge whose source is gone
// - edge-missing*: an image, child or container without the edge that keeps its target
// - blob-unnamed*, snapshot-unnamed*: no namespace has a name for it
// - tombstone-live*: stands for files of a row that lives
// - lease-expired*: the next collection takes it
// - image-incomplete: its target is not in the namespace: pull it again
// - snapshot-parent: the parent is not committed, or the namespace has no name for it
// - unconfirmed: bytes of another boot, or whose sync failed: verified at the next start
Result<std::vector<Finding>> check(const Context& context, Store& store);

// Puts right what is repairable; the findings that are left.
Result<std::vector<Finding>> repair(const Context& context, Store& store);

}  // namespace skiff::metadata
