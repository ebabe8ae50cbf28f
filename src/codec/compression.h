// Compressed streams: gzip (RFC 1952) through ISA-L, zstd (RFC 8878) through libzstd, and plain.
//
// A stream is whole or it is an error. DataLoss: it ends early, a checksum or length is wrong, the
// data cannot be decoded, or something that is not another member (frame) follows a member. Both
// formats may hold several members in a row; zstd's skippable frames are skipped. Zero bytes after
// the last gzip member are padding and ignored, as gzip(1) does; any other byte there is refused.
// Not thread-safe.
#pragma once

#include <memory>
#include <string_view>

#include "base/stream.h"

namespace skiff::codec {

enum class Compression { kNone, kGzip, kZstd };

// "none", "gzip", "zstd"
std::string_view compression_name(Compression compression);

// Enough bytes of a stream's start for `detect`.
inline constexpr size_t kMagicBytes = 4;
// What the first bytes say; fewer than four are plain unless they are gzip's two.
Compression detect(Bytes start);

// The plain bytes of `source`, which must outlive the result. A zstd window larger than 128 MiB is
// refused (ResourceExhausted), which bounds its memory; gzip needs about 350 KiB. For the best
// speed read into buffers of 256 KiB or more: they are decoded into directly.
std::unique_ptr<ByteSource> decompress(ByteSource& source, Compression compression);
// The same with the format read off the first bytes; says which it was.
struct Detected {
  Compression compression;
  std::unique_ptr<ByteSource> source;
};
Result<Detected> decompress(ByteSource& source);

// A sink that compresses into `sink`, which must outlive it. finish() writes the end; without it
// the stream is torn.
class Compressor : public ByteSink {
 public:
  virtual Status finish() = 0;
};
// gzip at ISA-L's level 1, zstd at -3 (with a checksum): for speed. Deterministic for one version
// of the libraries; the gzip header carries no name and no time.
std::unique_ptr<Compressor> compress(ByteSink& sink, Compression compression);

}  // namespace skiff::codec
