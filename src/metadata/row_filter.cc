#include "metadata/row_filter.h"

namespace skiff::metadata {
namespace {

// Whether `path` is `dotted`, without putting it together.
bool same(const std::vector<std::string_view>& path, std::string_view dotted) {
  for (size_t i = 0; i < path.size(); ++i) {
    if (!dotted.starts_with(path[i])) return false;
    dotted.remove_prefix(path[i].size());
    if (i + 1 == path.size()) return dotted.empty();
    if (!dotted.starts_with('.')) return false;
    dotted.remove_prefix(1);
  }
  return false;
}

}  // namespace

Result<RowFilter> RowFilter::compile(const std::vector<std::string>& filters,
                                     std::span<const Field> fields, int labels_column) {
  Filter filter = SKIFF_TRY(Filter::compile(filters));
  return RowFilter(std::move(filter), fields, labels_column, filters.empty());
}

bool RowFilter::match(const Statement& row) {
  if (all_) return true;
  return filter_.match([this, &row](const auto& path) { return lookup(row, path); });
}

std::optional<std::string_view> RowFilter::lookup(const Statement& row,
                                                  const std::vector<std::string_view>& path) {
  if (labels_column_ >= 0 && path.size() > 1 && path[0] == "labels") {
    // labels.a.b asks for the label "a.b", as labels."a.b" does.
    std::string_view key = path[1];
    if (path.size() > 2) {
      key_.assign(path[1]);
      for (size_t i = 2; i < path.size(); ++i) key_.append(".").append(path[i]);
      key = key_;
    }
    return find_label(row.text(labels_column_), key, scratch_);
  }
  for (const Field& field : fields_) {
    if (!same(path, field.path)) continue;
    std::string_view value = row.text(field.column);
    if (value.empty()) return std::nullopt;
    return value;
  }
  return std::nullopt;
}

}  // namespace skiff::metadata
