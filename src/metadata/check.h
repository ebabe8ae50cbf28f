// The database's side of fsck: SQLite's own checks and the rules that rows keep among themselves.
// Rows against files are content's and snapshot's to check.
#pragma once

#include <vector>

#include "base/context.h"
#include "base/finding.h"
#include "metadata/store.h"

namespace skiff::metadata {

// Changes nothing; safe beside other work. Kinds:
//   database-damaged      SQLite finds pages or indexes wrong; not repairable: restore, or start
//   anew row-dangling          a row names a row that is not there (foreign keys) row-unreadable
//   labels that are not what skiff writes edge-orphan           an edge whose source is gone
//   repairable edge-missing          an image, child, container without the edge that keeps its
//   target  " blob-unnamed, snapshot-unnamed   shared by no namespace " tombstone-live stands for
//   files of a row that lives                               " lease-expired         the next
//   collection takes it                                       " image-incomplete      its target is
//   not in the namespace: pull it again snapshot-parent       its parent is not committed, or the
//   namespace has no name for it unconfirmed           bytes of another boot, or whose sync failed:
//   verified at the next start
Result<std::vector<Finding>> check(const Context& context, Store& store);

// Puts right what is repairable; the findings that are left.
Result<std::vector<Finding>> repair(const Context& context, Store& store);

}  // namespace skiff::metadata
