#include "codec/tar/writer.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/check.h"
#include "codec/tar/block.h"
#include "codec/tar/pax.h"

namespace skiff::codec::tar {
namespace {

constexpr std::byte kZeros[2 * kBlockBytes]{};

char type_flag(EntryType type) {
  switch (type) {
    case EntryType::kFile: return '0';
    case EntryType::kHardLink: return '1';
    case EntryType::kSymlink: return '2';
    case EntryType::kCharDevice: return '3';
    case EntryType::kBlockDevice: return '4';
    case EntryType::kDirectory: return '5';
    case EntryType::kFifo: return '6';
  }
  return '0';
}

// One digit less than the field is wide: a NUL ends it.
bool fits_octal(uint64_t value, Field field) { return value >> (3 * (field.size - 1)) == 0; }

void put_octal(char* block, Field field, uint64_t value) {
  for (size_t i = field.size - 1; i-- > 0; value >>= 3)
    block[field.offset + i] = static_cast<char>('0' + (value & 7));
}

void put_text(char* block, Field field, std::string_view text) {
  std::memcpy(block + field.offset, text.data(), std::min(text.size(), field.size));
}

// Where ustar may split a long name into prefix and name; npos where it cannot.
size_t split_of(std::string_view name) {
  if (name.size() > kPrefix.size + 1 + kName.size) return std::string_view::npos;
  size_t slash = name.rfind('/', kPrefix.size);
  // A directory's own slash at the end does not leave an empty name.
  if (slash == std::string_view::npos || slash == 0 || slash + 1 == name.size())
    return std::string_view::npos;
  return name.size() - slash - 1 <= kName.size ? slash : std::string_view::npos;
}

bool fits_ustar_name(std::string_view name) {
  return name.size() <= kName.size || split_of(name) != std::string_view::npos;
}

std::string pax_records_of(const Entry& entry, std::string_view name) {
  std::string text;
  auto put = [&](std::string_view key, const auto& value) {
    append_pax_record(text, key, fmt::format("{}", value));
  };
  if (entry.atime) put("atime", format_pax_time(*entry.atime));
  if (!fits_octal(entry.gid, kGid)) put("gid", entry.gid);
  if (entry.link_name.size() > kLinkName.size) put("linkpath", entry.link_name);
  bool plain_time = entry.mtime.nanoseconds == 0 && entry.mtime.seconds >= 0 &&
                    fits_octal(static_cast<uint64_t>(entry.mtime.seconds), kMtime);
  if (!plain_time) put("mtime", format_pax_time(entry.mtime));
  if (!fits_ustar_name(name)) put("path", name);
  if (!fits_octal(entry.size, kSize)) put("size", entry.size);
  if (!fits_octal(entry.uid, kUid)) put("uid", entry.uid);
  std::vector<const Xattr*> xattrs;
  for (const Xattr& xattr : entry.xattrs) xattrs.push_back(&xattr);
  std::ranges::sort(xattrs, {}, &Xattr::name);
  for (const Xattr* xattr : xattrs)
    append_pax_record(text, fmt::format("SCHILY.xattr.{}", xattr->name), xattr->value);
  return text;
}

}  // namespace

Status Writer::add(const Entry& entry) {
  SKIFF_TRY(end_entry());
  auto has_nul = [](std::string_view text) { return text.find('\0') != std::string_view::npos; };
  if (entry.name.empty() || has_nul(entry.name) || has_nul(entry.link_name))
    return fail(Code::kInvalidArgument, "\"{}\" cannot be a tar entry's name or link",
                entry.name.empty() ? entry.link_name : entry.name);
  for (const Xattr& xattr : entry.xattrs)
    if (xattr.name.empty() || has_nul(xattr.name) || xattr.name.find('=') != std::string::npos)
      return fail(Code::kInvalidArgument,
                  "\"{}\": the xattr name \"{}\" cannot be written to a tar", entry.name,
                  xattr.name);
  name_ = entry.name;
  if (entry.type == EntryType::kDirectory && !name_.ends_with('/')) name_ += '/';
  size_ = left_ = entry.type == EntryType::kFile ? entry.size : 0;
  if (std::string records = pax_records_of(entry, name_); !records.empty()) {
    Entry header;
    SKIFF_TRY(write_header('x', header, fmt::format("PaxHeaders/{}", name_).substr(0, kName.size),
                           records.size()));
    SKIFF_TRY(sink_.write(as_bytes(records)));
    SKIFF_TRY(write_padding(records.size()));
  }
  return write_header(type_flag(entry.type), entry, name_, size_);
}

Status Writer::write_header(char type, const Entry& entry, std::string_view name, uint64_t size) {
  char block[kBlockBytes] = {};
  size_t split = name.size() > kName.size ? split_of(name) : std::string_view::npos;
  if (split != std::string_view::npos) {
    put_text(block, kPrefix, name.substr(0, split));
    put_text(block, kName, name.substr(split + 1));
  } else {
    put_text(block, kName, name);
  }
  // What does not fit stands in the PAX header; the field then is 0.
  auto put = [&](Field field, uint64_t value) {
    put_octal(block, field, fits_octal(value, field) ? value : 0);
  };
  put(kMode, entry.mode & 07777);
  put(kUid, entry.uid);
  put(kGid, entry.gid);
  put(kSize, size);
  put(kMtime, static_cast<uint64_t>(std::max<int64_t>(entry.mtime.seconds, 0)));
  block[kType] = type;
  put_text(block, kLinkName, entry.link_name);
  std::memcpy(block + kMagic.offset, "ustar\00000", 8);
  put(kDevMajor, entry.dev_major);
  put(kDevMinor, entry.dev_minor);
  // Six digits, a NUL, a space.
  put_octal(block, {kChecksum.offset, kChecksum.size - 1}, checksum_of(block));
  block[kChecksum.offset + 7] = ' ';
  return sink_.write(std::as_bytes(std::span(block)));
}

Status Writer::write(Bytes bytes) {
  if (bytes.size() > left_)
    return fail(Code::kInvalidArgument, "tar: more content for \"{}\" than its size of {}", name_,
                size_);
  left_ -= bytes.size();
  return sink_.write(bytes);
}

Status Writer::write_padding(uint64_t size) {
  size_t padding = (kBlockBytes - size % kBlockBytes) % kBlockBytes;
  return padding == 0 ? ok() : sink_.write(Bytes(kZeros, padding));
}

Status Writer::end_entry() {
  if (left_ > 0)
    return fail(Code::kInvalidArgument, "tar: {} of {} bytes are missing from \"{}\"", left_, size_,
                name_);
  SKIFF_TRY(write_padding(size_));
  size_ = 0;
  return ok();
}

Status Writer::finish() {
  SKIFF_TRY(end_entry());
  return sink_.write(kZeros);
}

}  // namespace skiff::codec::tar
