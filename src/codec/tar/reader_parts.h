// What the reader's own files share: the header block, and what extended headers said.
#pragma once

#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "codec/tar/block.h"
#include "codec/tar/reader.h"

namespace skiff::codec::tar {

struct Reader::Block {
  char bytes[kBlockBytes];

  std::string_view text(Field field) const { return text_at(bytes, field); }
  std::string_view raw(Field field) const { return {bytes + field.offset, field.size}; }
  bool zero() const { return bytes[0] == 0 && std::memcmp(bytes, bytes + 1, kBlockBytes - 1) == 0; }
  bool posix() const { return std::memcmp(bytes + kMagic.offset, "ustar\0", 6) == 0; }
  bool gnu() const { return std::memcmp(bytes + kMagic.offset, "ustar  ", 8) == 0; }
};

struct Reader::Extension {
  std::map<std::string, std::string, std::less<>> local;
  std::vector<uint64_t> sparse_numbers;  // of the 0.0 form, whose keys repeat
  std::optional<std::string> gnu_name;
  std::optional<std::string> gnu_link;
  const std::map<std::string, std::string, std::less<>>* globals = nullptr;

  // The value that counts: local before global; an empty one takes the record away.
  const std::string* find(std::string_view key) const {
    auto it = local.find(key);
    if (it == local.end() && (it = globals->find(key)) == globals->end()) return nullptr;
    return it->second.empty() ? nullptr : &it->second;
  }
};

// For messages: control bytes replaced, cut to a line.
std::string shown(std::string_view name);

template <typename... Args>
std::unexpected<Error> Reader::malformed(fmt::format_string<Args...> format, Args&&... args) const {
  return fail(Code::kInvalidArgument, "tar near byte {}: {}", position_,
              fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace skiff::codec::tar
