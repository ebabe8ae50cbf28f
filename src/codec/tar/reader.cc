#include "codec/tar/reader.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "codec/tar/block.h"
#include "codec/tar/pax.h"
#include "codec/tar/reader_parts.h"

namespace skiff::codec::tar {

std::string_view entry_type_name(EntryType type) {
  switch (type) {
    case EntryType::kFile: return "file";
    case EntryType::kHardLink: return "hard link";
    case EntryType::kSymlink: return "symlink";
    case EntryType::kCharDevice: return "character device";
    case EntryType::kBlockDevice: return "block device";
    case EntryType::kDirectory: return "directory";
    case EntryType::kFifo: return "FIFO";
  }
  return "unknown";
}

namespace {

constexpr std::string_view kSchilyXattr = "SCHILY.xattr.";
constexpr std::string_view kLibarchiveXattr = "LIBARCHIVE.xattr.";
constexpr uint64_t kMaxId = 0xfffffffe;  // one less than "leave as it is"

uint64_t padding_of(uint64_t size) { return (kBlockBytes - size % kBlockBytes) % kBlockBytes; }

std::optional<EntryType> type_of(char flag) {
  switch (flag) {
    case '0':
    case '\0':
    case '7':  // "contiguous": a file
    case 'S':  // old GNU sparse
      return EntryType::kFile;
    case '1': return EntryType::kHardLink;
    case '2': return EntryType::kSymlink;
    case '3': return EntryType::kCharDevice;
    case '4': return EntryType::kBlockDevice;
    case '5': return EntryType::kDirectory;
    case '6': return EntryType::kFifo;
    default: return std::nullopt;
  }
}

// Each attribute once, the last one of a name wins; libarchive writes both forms of each.
void add_xattr(std::vector<Xattr>& xattrs, std::string name, std::string value) {
  auto it = std::ranges::find(xattrs, name, &Xattr::name);
  if (it != xattrs.end())
    it->value = std::move(value);
  else
    xattrs.emplace_back(std::move(name), std::move(value));
}

}  // namespace

std::string shown(std::string_view name) {
  std::string text(name.substr(0, 120));
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return text;
}

Reader::Reader(Window& window, const ReaderLimits& limits)
    : window_(window), limits_(limits), block_(std::make_unique<Block>()) {}
Reader::~Reader() = default;

Status Reader::read_exactly(MutableBytes buffer, std::string_view what) {
  while (!buffer.empty()) {
    Bytes view = SKIFF_TRY(window_.peek());
    if (view.empty())
      return fail(Code::kDataLoss, "tar ends early, in {} at byte {}", what, position_);
    size_t n = std::min(view.size(), buffer.size());
    std::memcpy(buffer.data(), view.data(), n);
    window_.consume(n);
    position_ += n;
    buffer = buffer.subspan(n);
  }
  return ok();
}

Status Reader::skip(uint64_t count) {
  while (count > 0) {
    Bytes view = SKIFF_TRY(window_.peek());
    if (view.empty())
      return fail(Code::kDataLoss, "tar ends early, in \"{}\" at byte {}", shown(entry_.name),
                  position_);
    size_t n = static_cast<size_t>(std::min<uint64_t>(view.size(), count));
    window_.consume(n);
    position_ += n;
    count -= n;
  }
  return ok();
}

// The next header block; null at the end of the stream or the archive.
Result<const Reader::Block*> Reader::read_block() {
  MutableBytes bytes = std::as_writable_bytes(std::span(block_->bytes));
  Bytes view = SKIFF_TRY(window_.peek());
  if (view.empty()) return nullptr;
  SKIFF_TRY(read_exactly(bytes, "a header"));
  if (block_->zero()) {
    view = SKIFF_TRY(window_.peek());
    if (view.empty()) return nullptr;
    SKIFF_TRY(read_exactly(bytes, "its end"));
    if (!block_->zero()) return malformed("a lone zero block between entries");
    return nullptr;
  }
  if (!checksum_holds(block_->bytes)) return malformed("a header's checksum is wrong");
  return block_.get();
}

Result<std::string> Reader::read_long(uint64_t size, size_t limit, std::string_view what) {
  if (size > limit)
    return fail(Code::kResourceExhausted,
                "tar near byte {}: {} of {} bytes is over the limit of {}", position_, what, size,
                limit);
  std::string text(static_cast<size_t>(size), '\0');
  SKIFF_TRY(read_exactly(std::as_writable_bytes(std::span(text)), what));
  SKIFF_TRY(skip(padding_of(size)));
  return text;
}

Status Reader::read_pax(uint64_t size, bool global, Extension& extension) {
  std::string text = SKIFF_TRY(read_long(size, limits_.header_bytes, "an extended header"));
  std::string_view rest = text;
  if (!global) extension.local.clear(), extension.sparse_numbers.clear();
  while (!rest.empty()) {
    auto record = take_pax_record(rest);
    if (!record) return malformed("{}", record.error().message());
    if (record->key == "GNU.sparse.offset" || record->key == "GNU.sparse.numbytes") {
      auto number = parse_decimal(record->value);
      bool is_offset = record->key == "GNU.sparse.offset";
      if (!number || is_offset != (extension.sparse_numbers.size() % 2 == 0))
        return malformed("bad sparse map in an extended header");
      if (extension.sparse_numbers.size() >= 2 * limits_.sparse_pieces)
        return fail(Code::kResourceExhausted, "tar near byte {}: too many sparse pieces",
                    position_);
      extension.sparse_numbers.push_back(*number);
      continue;
    }
    (global ? globals_ : extension.local)
        .insert_or_assign(std::string(record->key), std::string(record->value));
  }
  if (!global) return ok();
  size_t held = 0;
  for (const auto& [key, value] : globals_) held += key.size() + value.size() + 64;
  if (held > limits_.header_bytes)
    return fail(Code::kResourceExhausted,
                "tar near byte {}: global headers are over the limit of {}", position_,
                limits_.header_bytes);
  return ok();
}

// True when the block was an extension that speaks of a later entry.
Result<bool> Reader::read_extension(const Block& block, uint64_t size, Extension& extension) {
  char flag = block.bytes[kType];
  if (flag == 'x' || flag == 'g') {
    SKIFF_TRY(read_pax(size, flag == 'g', extension));
    return true;
  }
  if (flag != 'L' && flag != 'K') return false;
  std::string text = SKIFF_TRY(read_long(size, limits_.name_bytes, "a long name"));
  text.resize(std::min(text.size(), text.find('\0')));
  (flag == 'L' ? extension.gnu_name : extension.gnu_link) = std::move(text);
  return true;
}

Result<const Entry*> Reader::next() {
  if (ended_) return nullptr;
  window_.consume(static_cast<size_t>(std::exchange(lent_, 0)));
  SKIFF_TRY(skip(std::exchange(stored_left_, 0) + std::exchange(padding_, 0)));
  Extension extension;
  extension.globals = &globals_;
  for (bool extended = false;; extended = true) {
    const Block* block = SKIFF_TRY(read_block());
    if (block == nullptr) {
      if (extended && !extension.local.empty())
        return fail(Code::kDataLoss, "tar ends early: an extended header without its entry");
      ended_ = true;
      return nullptr;
    }
    auto size = parse_number(block->raw(kSize));
    if (!size || *size < 0) return malformed("\"{}\": bad size", shown(block->text(kName)));
    if (SKIFF_TRY(read_extension(*block, static_cast<uint64_t>(*size), extension))) continue;
    if (++entries_ > limits_.entries)
      return fail(Code::kResourceExhausted, "tar has more than {} entries", limits_.entries);
    SKIFF_TRY(make_entry(*block, static_cast<uint64_t>(*size), extension));
    return &entry_;
  }
}

Status Reader::make_entry(const Block& block, uint64_t size, Extension& extension) {
  SKIFF_TRY(set_names(block, extension));
  auto type = type_of(block.bytes[kType]);
  if (!type)
    return malformed("\"{}\": unsupported entry type {:#04x}", shown(entry_.name),
                     static_cast<unsigned char>(block.bytes[kType]));
  entry_.type = *type;
  if (block.bytes[kType] == '\0' && entry_.name.ends_with('/')) entry_.type = EntryType::kDirectory;
  SKIFF_TRY(set_numbers(block, extension));
  SKIFF_TRY(set_times(block, extension));
  SKIFF_TRY(set_xattrs(extension));
  SKIFF_TRY(set_content(block, size, extension));
  return check_names();
}

std::unexpected<Error> Reader::bad(std::string_view what) const {
  return malformed("\"{}\": bad {}", shown(entry_.name), what);
}

Status Reader::set_names(const Block& block, Extension& extension) {
  entry_.link_name.assign(block.text(kLinkName));
  entry_.name.assign(block.text(kName));
  if (std::string_view prefix = block.text(kPrefix); block.posix() && !prefix.empty())
    entry_.name = fmt::format("{}/{}", prefix, entry_.name);
  if (auto* path = extension.find("path")) entry_.name = *path;
  if (auto* link = extension.find("linkpath")) entry_.link_name = *link;
  if (extension.gnu_name) entry_.name = std::move(*extension.gnu_name);
  if (extension.gnu_link) entry_.link_name = std::move(*extension.gnu_link);
  return ok();
}

Status Reader::set_numbers(const Block& block, const Extension& extension) {
  auto number = [&](Field field, std::string_view key, uint64_t max) -> std::optional<uint64_t> {
    if (auto* text = key.empty() ? nullptr : extension.find(key)) {
      auto value = parse_decimal(*text);
      return value && *value <= max ? value : std::nullopt;
    }
    auto value = parse_number(block.raw(field));
    if (!value || *value < 0 || static_cast<uint64_t>(*value) > max) return std::nullopt;
    return static_cast<uint64_t>(*value);
  };
  auto mode = number(kMode, "", INT64_MAX);
  auto uid = number(kUid, "uid", kMaxId);
  auto gid = number(kGid, "gid", kMaxId);
  if (!mode || !uid || !gid) return bad(!mode ? "mode" : !uid ? "uid" : "gid");
  entry_.mode = static_cast<uint32_t>(*mode & 07777);
  entry_.uid = static_cast<uint32_t>(*uid);
  entry_.gid = static_cast<uint32_t>(*gid);
  entry_.dev_major = entry_.dev_minor = 0;
  if (entry_.type != EntryType::kCharDevice && entry_.type != EntryType::kBlockDevice) return ok();
  auto dev_major = number(kDevMajor, "SCHILY.devmajor", 0xfff);
  auto dev_minor = number(kDevMinor, "SCHILY.devminor", 0xfffff);
  if (!dev_major || !dev_minor) return bad("device number");
  entry_.dev_major = static_cast<uint32_t>(*dev_major);
  entry_.dev_minor = static_cast<uint32_t>(*dev_minor);
  return ok();
}

Status Reader::set_times(const Block& block, const Extension& extension) {
  std::optional<Time> mtime;
  if (auto* text = extension.find("mtime"))
    mtime = parse_pax_time(*text);
  else if (auto seconds = parse_number(block.raw(kMtime)))
    mtime = Time{*seconds, 0};
  if (!mtime) return bad("mtime");
  entry_.mtime = *mtime;
  entry_.atime.reset();
  if (auto* text = extension.find("atime")) {
    entry_.atime = parse_pax_time(*text);
    if (!entry_.atime) return bad("atime");
  }
  return ok();
}

Status Reader::set_xattrs(const Extension& extension) {
  entry_.xattrs.clear();
  for (auto* records : {extension.globals, &extension.local}) {
    for (const auto& [key, value] : *records) {
      std::optional<std::string> name, bytes;
      if (key.starts_with(kSchilyXattr)) {
        name = key.substr(kSchilyXattr.size());
        bytes = value;
      } else if (key.starts_with(kLibarchiveXattr)) {
        name = decode_percent(std::string_view(key).substr(kLibarchiveXattr.size()));
        bytes = decode_base64(value);
      } else {
        continue;
      }
      if (!name || !bytes || name->empty() || name->find('\0') != std::string::npos)
        return bad("extended attribute");
      add_xattr(entry_.xattrs, std::move(*name), std::move(*bytes));
      if (entry_.xattrs.size() > limits_.xattrs)
        return fail(Code::kResourceExhausted, "tar: \"{}\" has more than {} extended attributes",
                    shown(entry_.name), limits_.xattrs);
    }
  }
  return ok();
}

// Only files have content, whatever the size field of the others says.
Status Reader::set_content(const Block& block, uint64_t size, Extension& extension) {
  uint64_t stored = entry_.type == EntryType::kFile ? size : 0;
  if (auto* text = extension.find("size"); text != nullptr && entry_.type == EntryType::kFile) {
    auto value = parse_decimal(*text);
    if (!value || *value > INT64_MAX) return bad("size");
    stored = *value;
  }
  if (stored > limits_.total_bytes - total_bytes_)
    return fail(Code::kResourceExhausted,
                "tar: with \"{}\" its content is over the limit of {} bytes", shown(entry_.name),
                limits_.total_bytes);
  total_bytes_ += stored;
  entry_.size = stored_left_ = stored;
  entry_.sparse = false;
  padding_ = padding_of(stored);
  regions_.clear();
  region_ = 0;
  region_done_ = 0;
  SKIFF_TRY(set_sparse(block, stored, extension));
  if (entry_.size > limits_.file_bytes)
    return fail(Code::kResourceExhausted, "tar: \"{}\" of {} bytes is over the limit of {}",
                shown(entry_.name), entry_.size, limits_.file_bytes);
  return ok();
}

Status Reader::check_names() {
  if (entry_.name.empty()) return malformed("an entry without a name");
  if (entry_.name.size() > limits_.name_bytes || entry_.link_name.size() > limits_.name_bytes)
    return fail(Code::kResourceExhausted,
                "tar: the name \"{}...\" or its link is over the limit of {} bytes",
                shown(entry_.name), limits_.name_bytes);
  auto has_nul = [](const std::string& text) { return text.find('\0') != std::string::npos; };
  if (has_nul(entry_.name) || has_nul(entry_.link_name)) return bad("name: it holds a NUL byte");
  bool is_link = entry_.type == EntryType::kHardLink || entry_.type == EntryType::kSymlink;
  if (is_link && entry_.link_name.empty()) return bad("link: it has no target");
  if (!is_link) entry_.link_name.clear();
  return ok();
}

Result<Piece> Reader::next_piece() {
  window_.consume(static_cast<size_t>(std::exchange(lent_, 0)));
  while (region_ < regions_.size() && region_done_ == regions_[region_].size) {
    ++region_;
    region_done_ = 0;
  }
  if (region_ == regions_.size()) return Piece{};
  const Region& region = regions_[region_];
  Bytes view = SKIFF_TRY(window_.peek());
  if (view.empty())
    return fail(Code::kDataLoss, "tar ends early, in \"{}\" at byte {}", shown(entry_.name),
                position_);
  size_t n = static_cast<size_t>(std::min<uint64_t>(view.size(), region.size - region_done_));
  Piece piece{region.offset + region_done_, view.first(n)};
  region_done_ += n;
  stored_left_ -= n;
  position_ += n;
  lent_ = n;
  return piece;
}

Status Reader::drain() {
  window_.consume(static_cast<size_t>(std::exchange(lent_, 0)));
  for (;;) {
    Bytes view = SKIFF_TRY(window_.peek());
    if (view.empty()) return ok();
    window_.consume(view.size());
    position_ += view.size();
  }
}

}  // namespace skiff::codec::tar
