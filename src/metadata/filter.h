// containerd's filter language: name==redis,labels."a.b/c"~=^x - a comma is AND, several strings
// are OR; == and != compare, ~= matches a regular expression anywhere in the value, a bare field
// asks for presence.
//
//   selector  := fieldpath [("==" | "!=" | "~=") value]
//   fieldpath := field {"." field}        field := [A-Za-z0-9_]+ or "quoted"
//   value     := anything up to a comma or a space, or "quoted", /quoted/, |quoted|
//
// Quoted text knows Go's escapes; between slashes or bars an escape that Go does not know stays as
// it is, so that /\d+/ is a regular expression. An absent field is != to everything and is matched
// by ~= as the empty text, as in containerd.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace skiff::metadata {

// Compiled once, matched often. Thread-safe to match.
class Filter {
 public:
  // The value of a field path ("labels", "a.b/c"), nullopt when it is absent.
  using Lookup =
      std::function<std::optional<std::string_view>(const std::vector<std::string_view>& path)>;

  // No strings: matches everything. InvalidArgument shows the text and the place.
  static Result<Filter> compile(const std::vector<std::string>& texts);
  bool match(const Lookup& lookup) const;

 private:
  struct Any;
  std::shared_ptr<const Any> any_;
};

}  // namespace skiff::metadata
