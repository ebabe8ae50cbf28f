#include "bin/skiffd/setting_types.h"

#include <initializer_list>
#include <optional>
#include <string_view>
#include <utility>

namespace skiff::daemon {
namespace {

using Value = TomlEntry::Value;

Status expected(std::string_view what) { return fail(Code::kInvalidArgument, "expected {}", what); }

// "12ms" -> 12, "ms"
std::optional<std::pair<uint64_t, std::string_view>> number_and_unit(std::string_view text) {
  size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  if (digits == 0 || digits > 15) return std::nullopt;
  uint64_t number = std::stoull(std::string(text.substr(0, digits)));
  text.remove_prefix(digits);
  while (text.starts_with(' ')) text.remove_prefix(1);
  return std::pair(number, text);
}

template <typename T>
Status read_scaled(const Value& value, std::string_view what,
                   std::initializer_list<std::pair<std::string_view, uint64_t>> units, T set) {
  auto text = std::get_if<std::string>(&value);
  auto parsed = text ? number_and_unit(*text) : std::nullopt;
  if (!parsed) return expected(what);
  for (auto [unit, factor] : units)
    if (unit == parsed->second) {
      set(parsed->first * factor);
      return ok();
    }
  return expected(what);
}

}  // namespace

Status read(const Value& value, std::string& field) {
  auto text = std::get_if<std::string>(&value);
  if (text == nullptr) return expected("a string");
  field = *text;
  return ok();
}
Status read(const Value& value, bool& field) {
  auto flag = std::get_if<bool>(&value);
  if (flag == nullptr) return expected("true or false");
  field = *flag;
  return ok();
}
Status read(const Value& value, int64_t& field) {
  auto number = std::get_if<int64_t>(&value);
  if (number == nullptr) return expected("a whole number");
  field = *number;
  return ok();
}
Status read(const Value& value, std::vector<std::string>& field) {
  auto texts = std::get_if<std::vector<std::string>>(&value);
  if (texts == nullptr) return expected("a list of strings");
  field = *texts;
  return ok();
}
Status read(const Value& value, ByteSize& field) {
  if (auto number = std::get_if<int64_t>(&value); number != nullptr && *number >= 0) {
    field.bytes = static_cast<uint64_t>(*number);
    return ok();
  }
  return read_scaled(value, "a size: a number of bytes, or text like \"64MiB\"",
                     {{"", 1},
                      {"B", 1},
                      {"KiB", 1 << 10},
                      {"MiB", 1 << 20},
                      {"GiB", 1 << 30},
                      {"KB", 1000},
                      {"MB", 1000'000},
                      {"GB", 1000'000'000}},
                     [&](uint64_t bytes) { field.bytes = bytes; });
}
Status read(const Value& value, Duration& field) {
  return read_scaled(value, "a duration: text like \"250ms\", \"30s\", \"5m\" or \"1h\"",
                     {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3600'000}},
                     [&](uint64_t ms) { field = Duration(ms); });
}
Status read(const Value& value, FileMode& field) {
  auto text = std::get_if<std::string>(&value);
  if (text == nullptr || text->size() < 3 || text->size() > 4 ||
      text->find_first_not_of("01234567") != std::string::npos)
    return expected("a mode as text, like \"0660\"");
  field.bits = static_cast<unsigned>(std::stoul(*text, nullptr, 8));
  return ok();
}

std::string show(const std::string& field) { return toml_quote(field); }
std::string show(bool field) { return field ? "true" : "false"; }
std::string show(int64_t field) { return std::to_string(field); }
std::string show(const std::vector<std::string>& field) {
  std::string text = "[";
  for (const std::string& element : field)
    text += (text.size() > 1 ? ", " : "") + toml_quote(element);
  return text + "]";
}
std::string show(ByteSize field) {
  if (field.bytes >= 1 << 20 && field.bytes % (1 << 20) == 0)
    return fmt::format("\"{}MiB\"", field.bytes >> 20);
  return std::to_string(field.bytes);
}
std::string show(Duration field) {
  auto ms = field.count();
  if (ms % 3600'000 == 0 && ms > 0) return fmt::format("\"{}h\"", ms / 3600'000);
  if (ms % 60'000 == 0 && ms > 0) return fmt::format("\"{}m\"", ms / 60'000);
  if (ms % 1000 == 0) return fmt::format("\"{}s\"", ms / 1000);
  return fmt::format("\"{}ms\"", ms);
}
std::string show(FileMode field) { return fmt::format("\"{:04o}\"", field.bits); }

}  // namespace skiff::daemon
