// Sparse files in GNU's old form and PAX's three (the GNU tar manual, "Storing Sparse Files").
#include "codec/tar/pax.h"
#include "codec/tar/reader_parts.h"

namespace skiff::codec::tar {

Status Reader::set_sparse(const Block& block, uint64_t stored, Extension& extension) {
  if (entry_.type != EntryType::kFile) return ok();
  if (block.bytes[kType] == 'S') return read_old_gnu_sparse(block);
  if (auto* name = extension.find("GNU.sparse.name")) entry_.name = *name;
  auto bad = [&] { return malformed("\"{}\": bad sparse map", shown(entry_.name)); };
  auto set_size = [&](const std::string* text) {
    auto size = text != nullptr ? parse_decimal(*text) : std::nullopt;
    if (size) entry_.size = *size;
    return size.has_value();
  };
  if (auto* version = extension.find("GNU.sparse.major"); version != nullptr && *version == "1") {
    if (auto* minor = extension.find("GNU.sparse.minor"); minor == nullptr || *minor != "0")
      return bad();
    if (!set_size(extension.find("GNU.sparse.realsize"))) return bad();
    return read_pax_sparse_map();
  }
  if (auto* map = extension.find("GNU.sparse.map")) {
    std::string_view rest = *map;
    while (!rest.empty()) {
      auto comma = rest.find(',');
      auto number = parse_decimal(rest.substr(0, comma));
      if (!number || extension.sparse_numbers.size() >= 2 * limits_.sparse_pieces) return bad();
      extension.sparse_numbers.push_back(*number);
      rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
    }
  }
  bool mapped =
      !extension.sparse_numbers.empty() || extension.find("GNU.sparse.numblocks") != nullptr;
  if (!mapped) {
    if (stored > 0) regions_.push_back({0, stored});
    return ok();
  }
  if (!set_size(extension.find("GNU.sparse.size")) || extension.sparse_numbers.size() % 2 != 0)
    return bad();
  for (size_t i = 0; i < extension.sparse_numbers.size(); i += 2)
    regions_.push_back({extension.sparse_numbers[i], extension.sparse_numbers[i + 1]});
  return check_regions(stored);
}

Status Reader::read_old_gnu_sparse(const Block& block) {
  auto bad = [&] { return malformed("\"{}\": bad sparse map", shown(entry_.name)); };
  auto real_size = parse_number(block.raw(kGnuRealSize));
  if (!block.gnu() || !real_size || *real_size < 0) return bad();
  entry_.size = static_cast<uint64_t>(*real_size);
  auto take = [&](const char* pairs, size_t count) {
    for (size_t i = 0; i < count; ++i) {
      const char* pair = pairs + i * 24;
      if (pair[0] == 0 && pair[12] == 0) return true;  // an unused pair ends the map
      auto offset = parse_number({pair, 12});
      auto size = parse_number({pair + 12, 12});
      if (!offset || !size || *offset < 0 || *size < 0) return false;
      regions_.push_back({static_cast<uint64_t>(*offset), static_cast<uint64_t>(*size)});
    }
    return true;
  };
  if (!take(block.bytes + kGnuSparse, kGnuSparsePairs)) return bad();
  bool more = block.bytes[kGnuIsExtended] != 0;
  Block extension;
  while (more) {
    SKIFF_TRY(read_exactly(std::as_writable_bytes(std::span(extension.bytes)), "a sparse map"));
    if (!take(extension.bytes, kGnuExtensionPairs)) return bad();
    if (regions_.size() > limits_.sparse_pieces)
      return fail(Code::kResourceExhausted, "tar near byte {}: too many sparse pieces", position_);
    more = extension.bytes[kGnuExtensionMore] != 0;
  }
  return check_regions(stored_left_);
}

// PAX 1.0: the map stands before the content, in decimal lines, padded to whole blocks.
Status Reader::read_pax_sparse_map() {
  auto bad = [&] { return malformed("\"{}\": bad sparse map", shown(entry_.name)); };
  Block block;
  size_t at = kBlockBytes;
  auto next_number = [&]() -> Result<std::optional<uint64_t>> {
    std::string line;
    for (;;) {
      if (at == kBlockBytes) {
        if (stored_left_ < kBlockBytes) return std::nullopt;
        SKIFF_TRY(read_exactly(std::as_writable_bytes(std::span(block.bytes)), "a sparse map"));
        stored_left_ -= kBlockBytes;
        at = 0;
      }
      char c = block.bytes[at++];
      if (c == '\n') return parse_decimal(line);
      if (line.size() > 20) return std::nullopt;
      line += c;
    }
  };
  auto count = SKIFF_TRY(next_number());
  if (!count) return bad();
  if (*count > limits_.sparse_pieces)
    return fail(Code::kResourceExhausted, "tar near byte {}: too many sparse pieces", position_);
  for (uint64_t i = 0; i < *count; ++i) {
    auto offset = SKIFF_TRY(next_number());
    auto size = SKIFF_TRY(next_number());
    if (!offset || !size) return bad();
    regions_.push_back({*offset, *size});
  }
  return check_regions(stored_left_);
}

// In order, apart, inside the file, and together just what is stored.
Status Reader::check_regions(uint64_t stored) {
  uint64_t end = 0;
  uint64_t sum = 0;
  for (const Region& region : regions_) {
    bool fits = region.offset >= end && region.offset <= entry_.size &&
                region.size <= entry_.size - region.offset;
    if (!fits) return malformed("\"{}\": bad sparse map", shown(entry_.name));
    end = region.offset + region.size;
    sum += region.size;
  }
  if (sum != stored || entry_.size > INT64_MAX)
    return malformed("\"{}\": the sparse map does not match the content", shown(entry_.name));
  entry_.sparse = true;
  return ok();
}

}  // namespace skiff::codec::tar
