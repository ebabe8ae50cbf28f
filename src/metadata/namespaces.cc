#include <ctime>

#include "metadata/labels.h"
#include "metadata/rows.h"
#include "metadata/sqlite.h"

namespace skiff::metadata {

Time now() {
  timespec time{};
  clock_gettime(CLOCK_REALTIME, &time);
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

Result<Labels> updated_labels(const Labels& before, const Labels& given, const FieldPaths& paths) {
  constexpr std::string_view kPrefix = "labels.";
  Labels labels = before;
  if (paths.empty()) labels = given;
  for (const std::string& path : paths) {
    if (path == "labels") {
      labels = given;
      continue;
    }
    if (!path.starts_with(kPrefix) || path.size() == kPrefix.size())
      return fail(Code::kInvalidArgument,
                  "cannot update \"{}\": only \"labels\" and \"labels.<name>\" can change", path);
    std::string key = path.substr(kPrefix.size());
    auto value = given.find(key);
    if (value == given.end() || value->second.empty()) {
      labels.erase(key);
    } else {
      labels[key] = value->second;
    }
  }
  SKIFF_TRY(check_labels(labels));
  return labels;
}

namespace namespaces {

Status ensure(Transaction& txn, const std::string& name) {
  if (name.empty()) return fail(Code::kInvalidArgument, "the namespace has no name");
  // Asked first: most of the time it is there, and then no page changes.
  Statement find(txn, "SELECT 1 FROM namespaces WHERE name = ?", name);
  if (SKIFF_TRY(find.exists())) return ok();
  Statement insert(txn, "INSERT INTO namespaces VALUES (?)", name);
  SKIFF_TRY(insert.run());
  return ok();
}

Result<std::vector<std::string>> list(Reader& reader) {
  std::vector<std::string> names;
  Statement rows(reader, "SELECT name FROM namespaces ORDER BY name");
  while (SKIFF_TRY(rows.next())) names.push_back(rows.string(0));
  return names;
}

}  // namespace namespaces
}  // namespace skiff::metadata
