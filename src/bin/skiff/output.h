// What a command prints.
#pragma once

#include <string_view>

#include "codec/json/json.h"

namespace skiff::cli {

// To stdout, at once. When nobody reads it any more (a closed pipe) the program ends quietly, with
// the status that SIGPIPE gives others.
void print(std::string_view text);
void print_line(std::string_view text);
// With --json: one document, indented.
void print_json(const json::Value& value);
// "skiff: ..." to stderr; control characters from elsewhere do not reach the terminal.
void complain(std::string_view text);

}  // namespace skiff::cli
