// Names in layers: cleaned of what tar allows and a root file system must not see.
#pragma once

#include <string>
#include <string_view>
#include <type_traits>

#include "base/error.h"

namespace skiff::layer {

// The OCI image specification, "Representing Changes": whiteouts.
inline constexpr std::string_view kWhiteoutPrefix = ".wh.";
inline constexpr std::string_view kOpaqueName = ".wh..wh..opq";
inline constexpr std::string_view kAufsPrefix = ".wh..wh.";

// `name` relative to the layer's root: no leading slash or "./", no empty or "." components, ".."
// taken back lexically. "" is the root itself. InvalidArgument: it climbs above the root, has more
// than `max_components`, or is longer than the kernel's PATH_MAX.
Result<std::string> clean_name(std::string_view name, size_t max_components);

struct SplitName {
  std::string_view parent;  // "" is the root
  std::string_view base;
};
SplitName split_name(std::string_view clean);

std::string join_name(std::string_view parent, std::string_view base);
// Whether `path` is `ancestor` or lies below it.
bool is_within(std::string_view path, std::string_view ancestor);

// The part of a map or set ordered by clean names that lies below `path`, itself not included.
template <typename Ordered>
auto below(Ordered& names, const std::string& path) {
  struct Range {
    typename std::conditional_t<std::is_const_v<Ordered>, typename Ordered::const_iterator,
                                typename Ordered::iterator>
        first, last;
    auto begin() const { return first; }
    auto end() const { return last; }
  };
  if (path.empty()) return Range{names.begin(), names.end()};
  // '0' comes right after '/'.
  return Range{names.lower_bound(path + '/'), names.lower_bound(path + '0')};
}

// For messages: control bytes replaced, cut to a line.
std::string shown(std::string_view name);

}  // namespace skiff::layer
