// Structured logs: a message that is constant text, and fields. One line an event, in logfmt or
// JSON, written with a single write(2) so lines of many threads never mix. Credentials never go in.
//   log::info("pulled image", {{"ref", name}, {"bytes", size}});
// Thread-safe. Before `configure` lines go to stderr in logfmt at level info.
#pragma once

#include <concepts>
#include <initializer_list>
#include <string>
#include <string_view>

#include <fmt/core.h>

#include "base/error.h"

namespace skiff::log {

enum class Level { kDebug, kInfo, kWarning, kError };
enum class Format { kLogfmt, kJson };

// "debug", "info", "warning", "error"; InvalidArgument names the text.
Result<Level> parse_level(std::string_view text);

struct Options {
  Level level = Level::kInfo;
  Format format = Format::kLogfmt;
  int fd = 2;  // not owned
};
void configure(const Options& options);
bool enabled(Level level);

struct Field {
  Field(std::string_view k, std::string_view v) : key(k), value(v) {}
  Field(std::string_view k, const char* v) : key(k), value(v) {}
  Field(std::string_view k, const std::string& v) : key(k), value(v) {}
  Field(std::string_view k, const Error& error) : key(k), value(error.message()) {}
  Field(std::string_view k, bool v) : key(k), value(v ? "true" : "false"), bare(true) {}
  template <typename T>
    requires std::integral<T> || std::floating_point<T>
  Field(std::string_view k, T v) : key(k), value(fmt::format("{}", v)), bare(true) {}

  std::string_view key;
  std::string value;
  bool bare = false;  // a number or truth value: written without quotes
};
using Fields = std::initializer_list<Field>;

void write(Level level, std::string_view message, Fields fields = {});
inline void debug(std::string_view message, Fields fields = {}) {
  if (enabled(Level::kDebug)) write(Level::kDebug, message, fields);
}
inline void info(std::string_view message, Fields fields = {}) {
  write(Level::kInfo, message, fields);
}
inline void warning(std::string_view message, Fields fields = {}) {
  write(Level::kWarning, message, fields);
}
inline void error(std::string_view message, Fields fields = {}) {
  write(Level::kError, message, fields);
}

}  // namespace skiff::log
