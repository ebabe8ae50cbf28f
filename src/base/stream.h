// Byte streams between stages. A source is pulled; whoever pulls owns the pace.
// Implementations say whether they block. None is thread-safe unless it says so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace skiff {

using Bytes = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;

inline Bytes as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
inline std::string_view as_text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Fills at most buffer.size() bytes and says how many; 0 only at the end (buffer not empty).
  // Blocks until at least one byte is there. After an error the source is of no more use.
  virtual Result<size_t> read(MutableBytes buffer) = 0;
};

class ByteSink {
 public:
  virtual ~ByteSink() = default;
  // Takes all the bytes or fails; after an error the sink is of no more use.
  virtual Status write(Bytes bytes) = 0;
};

// Reads until `buffer` is full or the source ends; says how much there was.
Result<size_t> read_full(ByteSource& source, MutableBytes buffer);
// The rest of the source; ResourceExhausted when it is longer than `limit` bytes.
Result<std::string> read_all(ByteSource& source, size_t limit);
// Copies everything; says how much.
Result<uint64_t> copy(ByteSource& source, ByteSink& sink);

// A source over memory that the caller keeps alive.
class MemorySource : public ByteSource {
 public:
  explicit MemorySource(Bytes bytes) : rest_(bytes) {}
  explicit MemorySource(std::string_view text) : rest_(as_bytes(text)) {}
  Result<size_t> read(MutableBytes buffer) override;

 private:
  Bytes rest_;
};

class StringSink : public ByteSink {
 public:
  Status write(Bytes bytes) override {
    text_.append(as_text(bytes));
    return ok();
  }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

}  // namespace skiff
