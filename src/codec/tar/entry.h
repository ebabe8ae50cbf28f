// One member of a tar archive, as both reader and writer speak of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace skiff::codec::tar {

enum class EntryType { kFile, kHardLink, kSymlink, kCharDevice, kBlockDevice, kDirectory, kFifo };

std::string_view entry_type_name(EntryType type);

struct Time {
  int64_t seconds = 0;
  int32_t nanoseconds = 0;  // 0 to 999999999, also before 1970
  friend auto operator<=>(const Time&, const Time&) = default;
};

struct Xattr {
  std::string name;  // "security.capability"
  std::string value;
  friend auto operator<=>(const Xattr&, const Xattr&) = default;
};

struct Entry {
  EntryType type = EntryType::kFile;
  std::string name;       // as in the archive: never empty, no NUL; may be absolute or hold ".."
  std::string link_name;  // of hard links (a member's name) and symlinks (any text)
  uint32_t mode = 0644;   // the low 12 bits
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint64_t size = 0;  // of a file's content, holes included; 0 for all other types
  Time mtime;
  std::optional<Time> atime;
  uint32_t dev_major = 0;
  uint32_t dev_minor = 0;
  bool sparse = false;  // the file has holes that the archive does not hold
  std::vector<Xattr> xattrs;
};

}  // namespace skiff::codec::tar
