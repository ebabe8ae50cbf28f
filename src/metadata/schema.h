// The schema and its migrations. The version stands in the file (PRAGMA user_version); each
// migration runs in one transaction with the change of the version. docs/formats/metadata.md
// explains the tables; tests/golden/metadata_schema.sql shows the newest whole.
#pragma once

#include "metadata/sqlite.h"

namespace skiff::metadata {

inline constexpr int kSchemaVersion = 1;

// FailedPrecondition when the file is newer than this build, or another program's.
Status migrate(Connection& writer);

}  // namespace skiff::metadata
