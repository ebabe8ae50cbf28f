#include "base/stream.h"

#include <algorithm>
#include <cstring>
#include <memory>

namespace skiff {

Result<size_t> read_full(ByteSource& source, MutableBytes buffer) {
  size_t done = 0;
  while (done < buffer.size()) {
    size_t n = SKIFF_TRY(source.read(buffer.subspan(done)));
    if (n == 0) break;
    done += n;
  }
  return done;
}

Result<std::string> read_all(ByteSource& source, size_t limit) {
  std::string text;
  std::byte buffer[16384];
  for (;;) {
    size_t n = SKIFF_TRY(source.read(buffer));
    if (n == 0) return text;
    if (text.size() + n > limit) return fail(Code::kResourceExhausted, "more than {} bytes", limit);
    text.append(as_text(Bytes(buffer, n)));
  }
}

Result<uint64_t> copy(ByteSource& source, ByteSink& sink) {
  constexpr size_t kBufferBytes = 256 << 10;
  auto buffer = std::make_unique_for_overwrite<std::byte[]>(kBufferBytes);
  uint64_t total = 0;
  for (;;) {
    size_t n = SKIFF_TRY(source.read({buffer.get(), kBufferBytes}));
    if (n == 0) return total;
    SKIFF_TRY(sink.write({buffer.get(), n}));
    total += n;
  }
}

Result<size_t> MemorySource::read(MutableBytes buffer) {
  size_t n = std::min(buffer.size(), rest_.size());
  std::memcpy(buffer.data(), rest_.data(), n);
  rest_ = rest_.subspan(n);
  return n;
}

}  // namespace skiff
