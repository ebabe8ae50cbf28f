#include "bin/skiff/text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <ctime>

#include <fmt/format.h>

#include "base/digest.h"
#include "oci/reference.h"

namespace skiff::cli {
namespace {

constexpr int64_t kNanosecondsPerSecond = 1'000'000'000;

// With three significant digits.
std::string three_digits(double value) {
  if (value >= 99.95) return fmt::format("{:.0f}", value);
  if (value >= 9.995) return fmt::format("{:.1f}", value);
  return fmt::format("{:.2f}", value);
}

bool continues_character(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

std::string times(int64_t count, std::string_view unit) {
  return fmt::format("{} {}{} ago", count, unit, count == 1 ? "" : "s");
}

}  // namespace

std::string human_bytes(uint64_t bytes) {
  constexpr std::string_view kUnits[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
  if (bytes < 1000) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / 1000;
  size_t unit = 0;
  while (value >= 999.5 && unit + 1 < std::size(kUnits)) {
    value /= 1000;
    ++unit;
  }
  return fmt::format("{} {}", three_digits(value), kUnits[unit]);
}

std::string human_duration(std::chrono::nanoseconds duration) {
  double seconds = std::chrono::duration<double>(duration).count();
  if (seconds < 0.9995) return fmt::format("{:.0f} ms", seconds * 1000);
  if (seconds < 59.95) return fmt::format("{} s", three_digits(seconds));
  int64_t whole = std::llround(seconds);
  if (whole < 3600) return fmt::format("{} m {} s", whole / 60, whole % 60);
  return fmt::format("{} h {} m", whole / 3600, whole % 3600 / 60);
}

std::string age(int64_t then, int64_t now) {
  if (then == 0) return "-";
  int64_t seconds = (now - then) / kNanosecondsPerSecond;
  if (seconds < -1) return "in the future";
  if (seconds < 2) return "now";
  constexpr int64_t kMinute = 60, kHour = 60 * kMinute, kDay = 24 * kHour;
  if (seconds < 2 * kMinute) return times(seconds, "second");
  if (seconds < 2 * kHour) return times(seconds / kMinute, "minute");
  if (seconds < 2 * kDay) return times(seconds / kHour, "hour");
  if (seconds < 14 * kDay) return times(seconds / kDay, "day");
  if (seconds < 60 * kDay) return times(seconds / (7 * kDay), "week");
  if (seconds < 730 * kDay) return times(seconds / (30 * kDay), "month");
  return times(seconds / (365 * kDay), "year");
}

std::string age(std::string_view text, int64_t now) {
  std::tm time{};
  std::string copy(text);
  const char* rest = strptime(copy.c_str(), "%Y-%m-%dT%H:%M:%S", &time);
  if (!rest) return "-";
  // Fractions and the offset do not change what is shown here by more than hours.
  int64_t seconds = timegm(&time);
  if (seconds <= 0) return "-";
  return age(seconds * kNanosecondsPerSecond, now);
}

std::string rfc3339(int64_t nanoseconds) {
  if (nanoseconds == 0) return "";
  std::time_t seconds = nanoseconds / kNanosecondsPerSecond;
  std::tm time{};
  gmtime_r(&seconds, &time);
  char text[32];
  size_t size = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &time);
  return {text, size};
}

int64_t now_nanoseconds() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string_view short_digest(std::string_view digest) {
  size_t colon = digest.find(':');
  if (colon == std::string_view::npos || digest.size() < colon + 13) return digest;
  return digest.substr(colon + 1, 12);
}

std::string familiar(const std::string& name) {
  auto reference = oci::Reference::parse(name);
  return reference ? reference->familiar() : name;
}

Result<uint64_t> parse_bytes(std::string_view text) {
  auto invalid = [&] {
    return fail(Code::kInvalidArgument,
                "\"{}\" is no size; write it as 512m, 1.5g or a number of bytes", text);
  };
  double value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || !(value >= 0)) return invalid();
  std::string_view unit(end, text.data() + text.size() - end);
  while (unit.starts_with(' ')) unit.remove_prefix(1);
  int power = 0;
  if (!unit.empty()) {
    size_t at = std::string_view("bkmgtp").find(static_cast<char>(unit[0] | 0x20));
    if (at == std::string_view::npos) return invalid();
    power = static_cast<int>(at);
    std::string_view rest = unit.substr(1);
    if (!rest.empty() &&
        (power == 0 || (rest != "b" && rest != "B" && rest != "iB" && rest != "ib")))
      return invalid();
  }
  value = std::ldexp(value, 10 * power);
  if (value >= 9.2e18) return invalid();
  return static_cast<uint64_t>(value);
}

size_t columns(std::string_view text) {
  return text.size() - std::ranges::count_if(text, continues_character);
}

std::string clip(std::string_view text, size_t width) {
  size_t at = 0;
  for (size_t shown = 0; at < text.size(); ++at) {
    if (continues_character(text[at])) continue;
    if (shown++ == width) break;
  }
  return std::string(text.substr(0, at));
}

std::string pad(std::string text, size_t width) {
  size_t used = columns(text);
  if (used < width) text.append(width - used, ' ');
  return text;
}

std::string printable(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7F) c = '?';
  }
  return out;
}

std::string Table::text() const {
  std::vector<size_t> widths;
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], columns(row[i]));
  }
  std::string out;
  for (const auto& row : rows_) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i)
      line += i + 1 < row.size() ? pad(row[i], widths[i] + 3) : row[i];
    while (line.ends_with(' ')) line.pop_back();
    out += line + "\n";
  }
  return out;
}

}  // namespace skiff::cli
