#include "layer/names.h"

#include <climits>

namespace skiff::layer {

Result<std::string> clean_name(std::string_view name, size_t max_components) {
  std::string clean;
  size_t components = 0;
  while (!name.empty()) {
    auto slash = name.find('/');
    std::string_view part = name.substr(0, slash);
    name.remove_prefix(slash == std::string_view::npos ? name.size() : slash + 1);
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (components-- == 0) return fail(Code::kInvalidArgument, "the name climbs above the root");
      clean.resize(components == 0 ? 0 : clean.rfind('/'));
      continue;
    }
    if (++components > max_components)
      return fail(Code::kInvalidArgument, "the name has more than {} components", max_components);
    if (!clean.empty()) clean += '/';
    clean += part;
  }
  if (clean.size() >= PATH_MAX)
    return fail(Code::kInvalidArgument, "the name is longer than {} bytes", PATH_MAX - 1);
  return clean;
}

SplitName split_name(std::string_view clean) {
  auto slash = clean.rfind('/');
  if (slash == std::string_view::npos) return {{}, clean};
  return {clean.substr(0, slash), clean.substr(slash + 1)};
}

std::string join_name(std::string_view parent, std::string_view base) {
  std::string path;
  path.reserve(parent.size() + 1 + base.size());
  path = parent;
  if (!path.empty()) path += '/';
  return path += base;
}

bool is_within(std::string_view path, std::string_view ancestor) {
  if (ancestor.empty()) return true;
  return path.starts_with(ancestor) &&
         (path.size() == ancestor.size() || path[ancestor.size()] == '/');
}

std::string shown(std::string_view name) {
  constexpr size_t kMost = 200;
  std::string text(name.substr(0, kMost));
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  if (name.size() > kMost) text += "...";
  return text;
}

}  // namespace skiff::layer
