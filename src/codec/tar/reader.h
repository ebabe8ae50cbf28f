// Reads tar: ustar, POSIX.1-2001 (PAX) and GNU, with GNU's and PAX's sparse files (old GNU, 0.0,
// 0.1, 1.0), base-256 numbers, and extended attributes (SCHILY.xattr.* and LIBARCHIVE.xattr.*).
//
//   while (const Entry* entry = SKIFF_TRY(reader.next()))
//     for (;;) {
//       Piece piece = SKIFF_TRY(reader.next_piece());
//       if (piece.bytes.empty()) break;
//       ...
//     }
//
// Nothing read is trusted: numbers, lengths and checksums are checked, headers and entries are
// bounded. InvalidArgument: the archive is malformed (the message names the entry and the byte).
// DataLoss: it ends early. ResourceExhausted: a limit was passed. After an error the reader is of
// no more use. Errors of the source pass through. Not thread-safe. The archive ends at two zero
// blocks or, as for GNU tar, at the end of the stream between entries; what follows the zero blocks
// is not looked at (drain() reads it, for a digest's sake). Facts: POSIX.1-2017 pax "ustar
// Interchange Format" and "pax Header Block"; the GNU tar manual, "Basic Tar Format" and "Storing
// Sparse Files".
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/stream.h"
#include "codec/tar/entry.h"
#include "codec/window.h"

namespace skiff::codec::tar {

struct ReaderLimits {
  uint64_t entries = 4'000'000;
  uint64_t file_bytes = uint64_t{1} << 43;   // one file's size, holes included
  uint64_t total_bytes = uint64_t{1} << 43;  // all content in the archive, holes not included
  size_t name_bytes = 64 << 10;              // a name or link; PATH_MAX is for who applies it
  size_t header_bytes = 2 << 20;             // one extended header (xattrs included)
  size_t sparse_pieces = 1 << 20;            // data regions of one sparse file
  size_t xattrs = 1000;                      // of one entry
};

// A run of a file's content. Offsets grow; what no piece covers is a hole.
struct Piece {
  uint64_t offset = 0;
  Bytes bytes;  // valid until the next call on the reader
};

class Reader {
 public:
  explicit Reader(Window& window, const ReaderLimits& limits = {});
  ~Reader();

  // The next entry, null at the archive's end. Content left over is skipped. The entry stays valid
  // until the next call of next().
  Result<const Entry*> next();
  // The next run of the current entry's content; empty at its end.
  Result<Piece> next_piece();
  // Reads the stream to its end, past the archive's.
  Status drain();

  // Bytes of the stream read so far.
  uint64_t position() const { return position_; }
  uint64_t entries() const { return entries_; }

 private:
  struct Block;
  struct Extension;  // what extended headers say about the next entry
  struct Region {
    uint64_t offset;
    uint64_t size;
  };

  Result<const Block*> read_block();
  Status read_exactly(MutableBytes buffer, std::string_view what);
  Status skip(uint64_t count);
  Result<std::string> read_long(uint64_t size, size_t limit, std::string_view what);
  Result<bool> read_extension(const Block& block, uint64_t size, Extension& extension);
  Status read_pax(uint64_t size, bool global, Extension& extension);
  Status make_entry(const Block& block, uint64_t size, Extension& extension);
  Status set_names(const Block& block, Extension& extension);
  Status set_numbers(const Block& block, const Extension& extension);
  Status set_times(const Block& block, const Extension& extension);
  Status set_xattrs(const Extension& extension);
  Status set_content(const Block& block, uint64_t size, Extension& extension);
  Status check_names();
  std::unexpected<Error> bad(std::string_view what) const;
  Status set_sparse(const Block& block, uint64_t stored, Extension& extension);
  Status read_old_gnu_sparse(const Block& block);
  Status read_pax_sparse_map();
  Status check_regions(uint64_t stored);
  template <typename... Args>
  std::unexpected<Error> malformed(fmt::format_string<Args...> format, Args&&... args) const;

  Window& window_;
  ReaderLimits limits_;
  std::unique_ptr<Block> block_;
  std::map<std::string, std::string, std::less<>> globals_;
  Entry entry_;
  std::vector<Region> regions_;  // of the current entry's content, in order
  size_t region_ = 0;
  uint64_t region_done_ = 0;
  uint64_t stored_left_ = 0;  // bytes of the current entry not read yet, padding not included
  uint64_t padding_ = 0;
  uint64_t lent_ = 0;  // of the last piece, to be consumed
  uint64_t position_ = 0;
  uint64_t entries_ = 0;
  uint64_t total_bytes_ = 0;
  bool ended_ = false;
};

}  // namespace skiff::codec::tar
