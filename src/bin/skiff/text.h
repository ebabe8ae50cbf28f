// Values as people read them.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace skiff::cli {

// Decimal units, three significant digits: "0 B", "999 B", "71.4 MB", "1.03 GB".
std::string human_bytes(uint64_t bytes);
// "850 ms", "1.24 s", "2 m 5 s", "3 h 10 m"
std::string human_duration(std::chrono::nanoseconds duration);
// How long before `now` a moment was: "3 hours ago"; "in the future" beyond it. Both in nanoseconds
// since 1970; 0 is unknown and "-".
std::string age(int64_t then, int64_t now);
// The same of an RFC 3339 time; what cannot be read is "-".
std::string age(std::string_view rfc3339, int64_t now);
// "2026-11-22T10:09:30Z"; 0 is "".
std::string rfc3339(int64_t nanoseconds);
int64_t now_nanoseconds();

// "sha256:0123456789ab.." -> "0123456789ab"; anything else unchanged.
std::string_view short_digest(std::string_view digest);
// An image's stored name as Docker's users know it; anything else unchanged.
std::string familiar(const std::string& name);

// "64m", "1.5GiB", "512": as Docker reads sizes (units are powers of 1024). InvalidArgument.
Result<uint64_t> parse_bytes(std::string_view text);

// Columns that UTF-8 text takes on a terminal, one a character.
size_t columns(std::string_view text);
// At most `width` columns of it.
std::string clip(std::string_view text, size_t width);
// Filled with spaces up to `width` columns.
std::string pad(std::string text, size_t width);
// What came from elsewhere, fit for a terminal: control characters become '?'.
std::string printable(std::string_view text);

// Rows below a line of headings, as wide as they need; the last column is not filled up.
class Table {
 public:
  explicit Table(std::vector<std::string> headings) { add(std::move(headings)); }
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace skiff::cli
