// containerd's filter language: "name==redis,labels.\"a.b/c\"~=^x" - comma is AND, several strings
// are OR, ==, != and ~= (RE2-like regular expression), a bare field asks for presence.
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
  using Lookup = std::function<std::optional<std::string_view>(
      const std::vector<std::string_view>& path)>;

  // No strings: matches everything. InvalidArgument shows the text and the place.
  static Result<Filter> compile(const std::vector<std::string>& texts);
  bool match(const Lookup& lookup) const;

 private:
  struct Any;
  std::shared_ptr<const Any> any_;
};

}  // namespace skiff::metadata
