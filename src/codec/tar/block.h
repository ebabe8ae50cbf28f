// The 512-byte header block and its number fields, shared by reader and writer.
// Facts: POSIX.1-2017 pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace skiff::codec::tar {

inline constexpr size_t kBlockBytes = 512;

struct Field {
  size_t offset;
  size_t size;
};
inline constexpr Field kName{0, 100}, kMode{100, 8}, kUid{108, 8}, kGid{116, 8}, kSize{124, 12},
    kMtime{136, 12}, kChecksum{148, 8}, kLinkName{157, 100}, kMagic{257, 8}, kDevMajor{329, 8},
    kDevMinor{337, 8}, kPrefix{345, 155};
inline constexpr size_t kType = 156;
// The old GNU format keeps these where POSIX has the prefix; pairs of offset and length, 24 bytes
// each.
inline constexpr size_t kGnuSparse = 386, kGnuSparsePairs = 4, kGnuIsExtended = 482;
inline constexpr Field kGnuRealSize{483, 12};
inline constexpr size_t kGnuExtensionPairs = 21, kGnuExtensionMore = 504;

inline std::string_view text_at(const char* block, Field field) {
  std::string_view text(block + field.offset, field.size);
  return text.substr(0, text.find('\0'));
}

// A number field: octal between blanks, or base-256 in two's complement; nothing but blanks is 0.
// Empty when it is neither or does not fit.
std::optional<int64_t> parse_number(std::string_view field);
// Decimal digits only, to the last character.
std::optional<uint64_t> parse_decimal(std::string_view text);
// Whether the block's checksum is right, summed as unsigned or (old writers) signed bytes.
bool checksum_holds(const char* block);
uint64_t checksum_of(const char* block);

}  // namespace skiff::codec::tar
