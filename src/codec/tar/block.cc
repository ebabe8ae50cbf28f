#include "codec/tar/block.h"

#include <algorithm>
#include <charconv>

namespace skiff::codec::tar {
namespace {

// The leading bit marks the form; the next one is the sign.
std::optional<int64_t> parse_base256(std::string_view field) {
  bool negative = (field[0] & 0x40) != 0;
  uint64_t value = negative ? ~uint64_t{0} : 0;
  for (size_t i = 0; i < field.size(); ++i) {
    auto byte = static_cast<unsigned char>(field[i]);
    if (i == 0) byte = negative ? byte | 0x80 : byte & 0x7f;
    // What is pushed out at the top must be nothing but sign.
    bool top = static_cast<int64_t>(value) < 0;
    if ((value >> 56) != (negative ? 0xff : 0) || top != negative) return std::nullopt;
    value = value << 8 | byte;
  }
  if ((static_cast<int64_t>(value) < 0) != negative) return std::nullopt;
  return static_cast<int64_t>(value);
}

}  // namespace

std::optional<int64_t> parse_number(std::string_view field) {
  if (!field.empty() && (field[0] & 0x80) != 0) return parse_base256(field);
  constexpr std::string_view kBlanks(" \0", 2);
  auto first = field.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return 0;
  field.remove_prefix(first);
  field = field.substr(0, field.find('\0'));
  field = field.substr(0, field.find_last_not_of(' ') + 1);
  int64_t value = 0;
  auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value, 8);
  if (error != std::errc() || end != field.data() + field.size() || field[0] == '-')
    return std::nullopt;
  return value;
}

std::optional<uint64_t> parse_decimal(std::string_view text) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 10);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

uint64_t checksum_of(const char* block) {
  uint64_t sum = kChecksum.size * ' ';
  for (size_t i = 0; i < kBlockBytes; ++i) sum += static_cast<unsigned char>(block[i]);
  for (size_t i = 0; i < kChecksum.size; ++i)
    sum -= static_cast<unsigned char>(block[kChecksum.offset + i]);
  return sum;
}

bool checksum_holds(const char* block) {
  auto stored = parse_number({block + kChecksum.offset, kChecksum.size});
  if (!stored) return false;
  if (static_cast<uint64_t>(*stored) == checksum_of(block)) return true;
  int64_t sum = static_cast<int64_t>(kChecksum.size * ' ');
  for (size_t i = 0; i < kBlockBytes; ++i)
    if (i < kChecksum.offset || i >= kChecksum.offset + kChecksum.size)
      sum += static_cast<signed char>(block[i]);
  return *stored == sum;
}

}  // namespace skiff::codec::tar
