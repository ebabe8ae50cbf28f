// Writes tar: ustar headers, and PAX headers where ustar does not reach (long names, big numbers,
// parts of seconds, times before 1970, xattrs). The same entries make the same bytes.
//
// The caller writes exactly entry.size bytes after each file's header. InvalidArgument where the
// entry cannot be written (an empty name, a NUL) or the content has the wrong length; errors of the
// sink pass through. Not thread-safe.
#pragma once

#include "base/stream.h"
#include "codec/tar/entry.h"

namespace skiff::codec::tar {

class Writer : public ByteSink {
 public:
  explicit Writer(ByteSink& sink) : sink_(sink) {}

  // Starts an entry. The previous file's content must be complete. Sparse files are written in
  // full.
  Status add(const Entry& entry);
  // Content of the current file.
  Status write(Bytes bytes) override;
  // The two zero blocks of the archive's end.
  Status finish();

 private:
  Status end_entry();
  Status write_header(char type, const Entry& entry, std::string_view name, uint64_t size);
  Status write_padding(uint64_t size);

  ByteSink& sink_;
  std::string name_;  // of the current entry
  uint64_t size_ = 0;
  uint64_t left_ = 0;
};

}  // namespace skiff::codec::tar
