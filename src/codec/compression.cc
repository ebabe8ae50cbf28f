#include "codec/compression.h"

#include <algorithm>
#include <cstring>

#include "codec/gzip.h"
#include "codec/zstd.h"

namespace skiff::codec {
namespace {

bool starts_with(Bytes bytes, std::initializer_list<int> magic) {
  return bytes.size() >= magic.size() &&
         std::equal(magic.begin(), magic.end(), bytes.begin(),
                    [](int want, std::byte got) { return std::byte(want) == got; });
}

class PlainSource : public ByteSource {
 public:
  explicit PlainSource(ByteSource& source) : source_(source) {}
  Result<size_t> read(MutableBytes buffer) override { return source_.read(buffer); }

 private:
  ByteSource& source_;
};

class PlainCompressor : public Compressor {
 public:
  explicit PlainCompressor(ByteSink& sink) : sink_(sink) {}
  Status write(Bytes bytes) override { return sink_.write(bytes); }
  Status finish() override { return ok(); }

 private:
  ByteSink& sink_;
};

// The bytes already looked at, then the rest.
class PrefixedSource : public ByteSource {
 public:
  PrefixedSource(Bytes prefix, ByteSource& rest) : size_(prefix.size()), rest_(rest) {
    std::ranges::copy(prefix, prefix_);
  }
  Result<size_t> read(MutableBytes buffer) override {
    if (done_ == size_) return rest_.read(buffer);
    size_t n = std::min(buffer.size(), size_ - done_);
    std::memcpy(buffer.data(), prefix_ + done_, n);
    done_ += n;
    return n;
  }

 private:
  std::byte prefix_[kMagicBytes];
  size_t size_;
  size_t done_ = 0;
  ByteSource& rest_;
};

class DetectedSource : public ByteSource {
 public:
  DetectedSource(Bytes prefix, ByteSource& rest, Compression compression)
      : whole_(prefix, rest), plain_(decompress(whole_, compression)) {}
  Result<size_t> read(MutableBytes buffer) override { return plain_->read(buffer); }

 private:
  PrefixedSource whole_;
  std::unique_ptr<ByteSource> plain_;
};

}  // namespace

std::string_view compression_name(Compression compression) {
  switch (compression) {
    case Compression::kNone: return "none";
    case Compression::kGzip: return "gzip";
    case Compression::kZstd: return "zstd";
  }
  return "unknown";
}

Compression detect(Bytes start) {
  if (starts_with(start, {0x1f, 0x8b})) return Compression::kGzip;
  if (starts_with(start, {0x28, 0xb5, 0x2f, 0xfd})) return Compression::kZstd;
  // A skippable frame comes first in seekable and chunked zstd streams: 0x184D2A50 to 5F.
  if (start.size() >= 4 && (start[0] & std::byte{0xf0}) == std::byte{0x50} &&
      starts_with(start.subspan(1), {0x2a, 0x4d, 0x18}))
    return Compression::kZstd;
  return Compression::kNone;
}

std::unique_ptr<ByteSource> decompress(ByteSource& source, Compression compression) {
  switch (compression) {
    case Compression::kGzip: return make_gzip_source(source);
    case Compression::kZstd: return make_zstd_source(source);
    case Compression::kNone: break;
  }
  return std::make_unique<PlainSource>(source);
}

Result<Detected> decompress(ByteSource& source) {
  std::byte start[kMagicBytes];
  size_t n = SKIFF_TRY(read_full(source, start));
  Compression compression = detect(Bytes(start, n));
  return Detected{compression,
                  std::make_unique<DetectedSource>(Bytes(start, n), source, compression)};
}

std::unique_ptr<Compressor> compress(ByteSink& sink, Compression compression) {
  switch (compression) {
    case Compression::kGzip: return make_gzip_compressor(sink);
    case Compression::kZstd: return make_zstd_compressor(sink);
    case Compression::kNone: break;
  }
  return std::make_unique<PlainCompressor>(sink);
}

}  // namespace skiff::codec
