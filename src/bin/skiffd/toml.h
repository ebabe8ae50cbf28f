// A TOML file as flat keys, so that the settings table need not know the parser.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.h"

namespace skiff::daemon {

struct TomlEntry {
  using Value = std::variant<std::string, int64_t, bool, double, std::vector<std::string>>;
  std::string key;  // "pull.layer_fetches"
  int line = 0;
  Value value;
};

// InvalidArgument names the file and the line. Dates, and arrays of anything but strings, are not
// used by any setting and refused.
Result<std::vector<TomlEntry>> parse_toml(std::string_view text, const std::string& file_name);

// `text` as a TOML basic string, quotes included.
std::string toml_quote(std::string_view text);

}  // namespace skiff::daemon
