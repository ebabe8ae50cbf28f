#include "codec/zstd.h"

#include <algorithm>
#include <cstring>

#include <zstd.h>
#include <zstd_errors.h>

#include "base/check.h"

namespace skiff::codec {
namespace {

constexpr size_t kInputBytes = 128 << 10;
constexpr int kLevel = 3;
constexpr int kMaxWindowLog = 27;  // 128 MiB: libzstd's own default, and all that `zstd -19` needs

class ZstdSource : public ByteSource {
 public:
  explicit ZstdSource(ByteSource& source)
      : source_(source),
        input_(std::make_unique_for_overwrite<std::byte[]>(kInputBytes)),
        context_(ZSTD_createDCtx()) {
    SKIFF_CHECK(context_ != nullptr, "memory for a zstd decoder");
    ZSTD_DCtx_setParameter(context_.get(), ZSTD_d_windowLogMax, kMaxWindowLog);
  }

  Result<size_t> read(MutableBytes buffer) override {
    ZSTD_outBuffer out{buffer.data(), buffer.size(), 0};
    while (out.pos == 0) {
      if (!in_frame_ && !SKIFF_TRY(next_frame())) return 0;
      if (in_.pos == in_.size && !output_held_ && SKIFF_TRY(fill()) == 0)
        return fail(Code::kDataLoss, "zstd stream ends early, after {} bytes", read_);
      size_t hint = ZSTD_decompressStream(context_.get(), &out, &in_);
      if (ZSTD_isError(hint)) return fault(hint);
      in_frame_ = hint != 0;
      output_held_ = in_frame_ && out.pos == out.size;
    }
    return out.pos;
  }

 private:
  // Stands before a frame, or false at the end. The library would also take the formats from before
  // the standard, whose decoders nobody tests any more; so the magic number is looked at here.
  Result<bool> next_frame() {
    while (in_.size - in_.pos < kMagicBytes)
      if (SKIFF_TRY(fill()) == 0) break;
    size_t left = in_.size - in_.pos;
    if (left == 0 && frames_ > 0) return false;
    Bytes magic(input_.get() + in_.pos, std::min(left, kMagicBytes));
    if (left >= kMagicBytes && detect(magic) == Compression::kZstd) {
      ++frames_;
      in_frame_ = true;
      return true;
    }
    if (frames_ == 0)
      return fail(Code::kDataLoss, "not a zstd stream: it {}",
                  left < kMagicBytes ? "is shorter than a header" : "starts with other bytes");
    return fail(Code::kDataLoss, "zstd stream at byte {}: garbage after the end of frame {}",
                read_ - left, frames_);
  }

  // Reads more behind what is left.
  Result<size_t> fill() {
    size_t left = in_.size - in_.pos;
    std::memmove(input_.get(), input_.get() + in_.pos, left);
    size_t n = SKIFF_TRY(source_.read({input_.get() + left, kInputBytes - left}));
    in_ = {input_.get(), left + n, 0};
    read_ += n;
    return n;
  }

  std::unexpected<Error> fault(size_t code) const {
    uint64_t at = read_ - in_.size + in_.pos;
    if (ZSTD_getErrorCode(code) == ZSTD_error_frameParameter_windowTooLarge)
      return fail(Code::kResourceExhausted,
                  "zstd stream at byte {}: needs a window of more than {} MiB", at,
                  1 << (kMaxWindowLog - 20));
    return fail(Code::kDataLoss, "zstd stream at byte {}: {}", at, ZSTD_getErrorName(code));
  }

  struct Free {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };
  ByteSource& source_;
  std::unique_ptr<std::byte[]> input_;
  std::unique_ptr<ZSTD_DCtx, Free> context_;
  ZSTD_inBuffer in_{nullptr, 0, 0};
  uint64_t read_ = 0;
  uint64_t frames_ = 0;
  bool in_frame_ = false;
  bool output_held_ = false;
};

class ZstdCompressor : public Compressor {
 public:
  explicit ZstdCompressor(ByteSink& sink)
      : sink_(sink),
        output_(std::make_unique_for_overwrite<std::byte[]>(ZSTD_CStreamOutSize())),
        context_(ZSTD_createCCtx()) {
    SKIFF_CHECK(context_ != nullptr, "memory for a zstd encoder");
    ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_compressionLevel, kLevel);
    ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_checksumFlag, 1);
  }

  Status write(Bytes bytes) override { return run(bytes, ZSTD_e_continue); }
  Status finish() override { return run({}, ZSTD_e_end); }

 private:
  Status run(Bytes bytes, ZSTD_EndDirective mode) {
    ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
    for (;;) {
      ZSTD_outBuffer out{output_.get(), ZSTD_CStreamOutSize(), 0};
      size_t left = ZSTD_compressStream2(context_.get(), &out, &in, mode);
      if (ZSTD_isError(left))
        return fail(Code::kInternal, "zstd encoder: {}", ZSTD_getErrorName(left));
      if (out.pos > 0) SKIFF_TRY(sink_.write({output_.get(), out.pos}));
      if (mode == ZSTD_e_end ? left == 0 : in.pos == in.size) return ok();
    }
  }

  struct Free {
    void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  };
  ByteSink& sink_;
  std::unique_ptr<std::byte[]> output_;
  std::unique_ptr<ZSTD_CCtx, Free> context_;
};

}  // namespace

std::unique_ptr<ByteSource> make_zstd_source(ByteSource& source) {
  return std::make_unique<ZstdSource>(source);
}

std::unique_ptr<Compressor> make_zstd_compressor(ByteSink& sink) {
  return std::make_unique<ZstdCompressor>(sink);
}

}  // namespace skiff::codec
