#include "codec/tar/pax.h"

#include <algorithm>
#include <charconv>

#include "codec/tar/block.h"

namespace skiff::codec::tar {

Result<PaxRecord> take_pax_record(std::string_view& text) {
  auto space = text.find(' ');
  std::optional<uint64_t> length;
  if (space != std::string_view::npos && space <= 20) length = parse_decimal(text.substr(0, space));
  if (!length || *length < space + 3 || *length > text.size())
    return fail(Code::kInvalidArgument, "extended header record without a right length");
  std::string_view record = text.substr(space + 1, *length - space - 1);
  if (record.back() != '\n')
    return fail(Code::kInvalidArgument, "extended header record without an end of line");
  record.remove_suffix(1);
  auto equals = record.find('=');
  if (equals == std::string_view::npos || equals == 0)
    return fail(Code::kInvalidArgument, "extended header record without a key");
  text.remove_prefix(*length);
  return PaxRecord{record.substr(0, equals), record.substr(equals + 1)};
}

void append_pax_record(std::string& text, std::string_view key, std::string_view value) {
  // The length counts its own digits.
  size_t rest = key.size() + value.size() + 3;
  size_t length = rest + 1;
  while (length != rest + fmt::formatted_size("{}", length))
    length = rest + fmt::formatted_size("{}", length);
  text += fmt::format("{} ", length);
  text += key;
  text += '=';
  text += value;
  text += '\n';
}

std::optional<Time> parse_pax_time(std::string_view text) {
  bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  auto dot = text.find('.');
  auto seconds = parse_decimal(text.substr(0, dot));
  if (!seconds || *seconds > INT64_MAX) return std::nullopt;
  Time time{static_cast<int64_t>(*seconds), 0};
  bool more = false;  // a fraction beyond nanoseconds
  if (dot != std::string_view::npos) {
    std::string_view fraction = text.substr(dot + 1);
    if (!std::ranges::all_of(fraction, [](char c) { return c >= '0' && c <= '9'; }))
      return std::nullopt;
    for (size_t i = 0; i < 9; ++i)
      time.nanoseconds = time.nanoseconds * 10 + (i < fraction.size() ? fraction[i] - '0' : 0);
    more =
        fraction.size() > 9 && fraction.substr(9).find_first_not_of('0') != std::string_view::npos;
  }
  if (!negative) return time;
  int32_t back = time.nanoseconds + (more ? 1 : 0);
  time.seconds = -time.seconds - (back > 0 ? 1 : 0);
  time.nanoseconds = back > 0 ? 1'000'000'000 - back : 0;
  return time;
}

std::string format_pax_time(const Time& time) {
  if (time.nanoseconds == 0) return fmt::format("{}", time.seconds);
  std::string text = time.seconds >= 0 ? fmt::format("{}.{:09}", time.seconds, time.nanoseconds)
                                       : fmt::format("-{}.{:09}", -(time.seconds + 1),
                                                     1'000'000'000 - time.nanoseconds);
  text.erase(text.find_last_not_of('0') + 1);
  return text;
}

std::optional<std::string> decode_percent(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    unsigned byte = 0;
    const char* digits = text.data() + i + 1;
    if (i + 2 >= text.size()) return std::nullopt;
    if (std::from_chars(digits, digits + 2, byte, 16).ptr != digits + 2) return std::nullopt;
    out += static_cast<char>(byte);
    i += 2;
  }
  return out;
}

std::optional<std::string> decode_base64(std::string_view text) {
  static constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  while (text.ends_with('=')) text.remove_suffix(1);
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  for (char c : text) {
    auto digit = kAlphabet.find(c);
    if (digit == std::string_view::npos) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    if (count += 6; count >= 8) {
      count -= 8;
      out += static_cast<char>(bits >> count & 0xff);
    }
  }
  return count == 6 ? std::nullopt : std::optional(std::move(out));
}

}  // namespace skiff::codec::tar
