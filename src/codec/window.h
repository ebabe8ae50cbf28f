// Reading without copying: a source that lends its own buffer. The tar reader works on it, so a
// file's bytes go from the inflater's buffer straight to write(2).
#pragma once

#include <memory>

#include "base/stream.h"

namespace skiff::codec {

class Window {
 public:
  virtual ~Window() = default;
  // Bytes that come next, as many as lie at hand; empty only at the end. They stay valid until the
  // next call of any function here. Blocks until at least one byte is there.
  virtual Result<Bytes> peek() = 0;
  // Moves on; `count` is at most what the last peek showed.
  virtual void consume(size_t count) = 0;
};

// A window over any source (which must outlive it), with a buffer of its own.
class BufferedWindow : public Window {
 public:
  explicit BufferedWindow(ByteSource& source, size_t capacity = 256 << 10)
      : source_(source),
        buffer_(std::make_unique_for_overwrite<std::byte[]>(capacity)),
        capacity_(capacity) {}
  Result<Bytes> peek() override {
    if (begin_ == end_) {
      end_ = SKIFF_TRY(source_.read({buffer_.get(), capacity_}));
      begin_ = 0;
    }
    return Bytes(buffer_.get() + begin_, end_ - begin_);
  }
  void consume(size_t count) override { begin_ += count; }

 private:
  ByteSource& source_;
  std::unique_ptr<std::byte[]> buffer_;
  size_t capacity_;
  size_t begin_ = 0;
  size_t end_ = 0;
};

// A window over memory that the caller keeps alive.
class MemoryWindow : public Window {
 public:
  explicit MemoryWindow(Bytes bytes) : rest_(bytes) {}
  Result<Bytes> peek() override { return rest_; }
  void consume(size_t count) override { rest_ = rest_.subspan(count); }

 private:
  Bytes rest_;
};

}  // namespace skiff::codec
