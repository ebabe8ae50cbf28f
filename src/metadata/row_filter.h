// How the lists apply a filter to a row of a statement before they build its value: the field
// paths of containerd's adaptors, read from the columns. Internal to this folder.
#pragma once

#include <span>

#include "metadata/filter.h"
#include "metadata/labels.h"
#include "metadata/sqlite.h"

namespace skiff::metadata {

// An empty column counts as a field that is absent.
class RowFilter {
 public:
  struct Field {
    std::string_view path;  // "name", "target.digest"
    int column;
  };
  // `labels_column` holds encoded labels; -1: the rows have none. `fields` must outlive this.
  static Result<RowFilter> compile(const std::vector<std::string>& filters,
                                   std::span<const Field> fields, int labels_column);
  bool match(const Statement& row);

 private:
  RowFilter(Filter filter, std::span<const Field> fields, int labels_column, bool all)
      : filter_(std::move(filter)), fields_(fields), labels_column_(labels_column), all_(all) {}
  std::optional<std::string_view> lookup(const Statement& row,
                                         const std::vector<std::string_view>& path);

  Filter filter_;
  std::span<const Field> fields_;
  int labels_column_;
  bool all_;
  std::string scratch_;
  std::string key_;
};

}  // namespace skiff::metadata
