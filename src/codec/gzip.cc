#include "codec/gzip.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include <isa-l/igzip_lib.h>

#include "base/check.h"

namespace skiff::codec {
namespace {

constexpr size_t kInputBytes = 128 << 10;
constexpr size_t kOutputBytes = 128 << 10;
// ISA-L counts in 32 bits.
constexpr size_t kMaxSpan = 1 << 30;

std::string_view inflate_fault(int code) {
  switch (code) {
    case ISAL_INVALID_BLOCK: return "invalid deflate block";
    case ISAL_INVALID_SYMBOL: return "invalid deflate symbol";
    case ISAL_INVALID_LOOKBACK: return "invalid look-back distance";
    case ISAL_INVALID_WRAPPER: return "invalid header";
    case ISAL_UNSUPPORTED_METHOD: return "unsupported compression method";
    case ISAL_INCORRECT_CHECKSUM: return "wrong checksum or length";
    default: return "cannot be decoded";
  }
}

class GzipSource : public ByteSource {
 public:
  explicit GzipSource(ByteSource& source)
      : source_(source), input_(std::make_unique_for_overwrite<std::byte[]>(kInputBytes)) {
    isal_inflate_init(&state_);
    state_.crc_flag = ISAL_GZIP;
    state_.avail_in = 0;
  }

  Result<size_t> read(MutableBytes buffer) override {
    buffer = buffer.first(std::min(buffer.size(), kMaxSpan));
    for (;;) {
      if (at_member_) {
        if (!SKIFF_TRY(next_member())) return 0;
        at_member_ = false;
      }
      size_t n = SKIFF_TRY(inflate(buffer));
      if (n > 0) return n;
    }
  }

 private:
  // Decodes some bytes of the current member; 0 also where it ended or more input is needed.
  Result<size_t> inflate(MutableBytes buffer) {
    // Input is asked for only when the decoder took all of it and had room to spare: it may hold
    // output back when the buffer is full.
    if (state_.avail_in == 0 && !output_held_) {
      if (SKIFF_TRY(fill()) == 0)
        return fail(Code::kDataLoss, "gzip stream ends early, after {} bytes", consumed());
    }
    state_.next_out = reinterpret_cast<uint8_t*>(buffer.data());
    state_.avail_out = static_cast<uint32_t>(buffer.size());
    int code = isal_inflate(&state_);
    if (code != ISAL_DECOMP_OK && code != ISAL_END_INPUT)
      return fail(Code::kDataLoss, "gzip stream near byte {}: {}", consumed(), inflate_fault(code));
    at_member_ = state_.block_state == ISAL_BLOCK_FINISH;
    output_held_ = state_.avail_out == 0 && !at_member_;
    return buffer.size() - state_.avail_out;
  }

  // Stands before a member, or false at the end: of the stream, or of it and padding.
  Result<bool> next_member() {
    std::byte magic[2];
    size_t have = 0;
    for (; have < 2; ++have) {
      if (state_.avail_in == 0 && SKIFF_TRY(fill()) == 0) break;
      magic[have] = std::byte{*state_.next_in};
      ++state_.next_in;
      --state_.avail_in;
      if (have == 0 && magic[0] == std::byte{0} && members_ > 0) {
        SKIFF_TRY(skip_padding());
        return false;
      }
    }
    if (have == 0 && members_ > 0) return false;
    bool is_magic = have == 2 && magic[0] == std::byte{0x1f} && magic[1] == std::byte{0x8b};
    if (!is_magic && members_ == 0)
      return fail(Code::kDataLoss, "not a gzip stream: it {}",
                  have < 2 ? "is shorter than a header" : "starts with other bytes");
    if (!is_magic)
      return fail(Code::kDataLoss, "gzip stream at byte {}: garbage after the end of member {}",
                  consumed() - have, members_);
    ++members_;
    return start_member(magic);
  }

  // Gives the decoder the two bytes of magic, then what lies behind them.
  Result<bool> start_member(std::byte (&magic)[2]) {
    uint8_t* next_in = state_.next_in;
    uint32_t avail_in = state_.avail_in;
    uint8_t none[1];
    isal_inflate_reset(&state_);
    state_.crc_flag = ISAL_GZIP;
    state_.next_in = reinterpret_cast<uint8_t*>(magic);
    state_.avail_in = sizeof magic;
    state_.next_out = none;
    state_.avail_out = 0;
    int code = isal_inflate(&state_);
    SKIFF_CHECK(code >= 0 && state_.avail_in == 0, "the decoder takes the magic bytes");
    state_.next_in = next_in;
    state_.avail_in = avail_in;
    output_held_ = false;
    return true;
  }

  Status skip_padding() {
    do {
      auto* end = state_.next_in + state_.avail_in;
      auto* byte = std::find_if(state_.next_in, end, [](uint8_t b) { return b != 0; });
      if (byte != end)
        return fail(Code::kDataLoss, "gzip stream at byte {}: garbage after the end of member {}",
                    consumed() - static_cast<size_t>(end - byte) + state_.avail_in, members_);
      state_.avail_in = 0;
    } while (SKIFF_TRY(fill()) > 0);
    return ok();
  }

  Result<size_t> fill() {
    size_t n = SKIFF_TRY(source_.read({input_.get(), kInputBytes}));
    state_.next_in = reinterpret_cast<uint8_t*>(input_.get());
    state_.avail_in = static_cast<uint32_t>(n);
    read_ += n;
    return n;
  }
  uint64_t consumed() const { return read_ - state_.avail_in; }

  ByteSource& source_;
  std::unique_ptr<std::byte[]> input_;
  inflate_state state_;
  uint64_t read_ = 0;
  uint64_t members_ = 0;
  bool at_member_ = true;
  bool output_held_ = false;
};

class GzipCompressor : public Compressor {
 public:
  explicit GzipCompressor(ByteSink& sink)
      : sink_(sink),
        level_(std::make_unique_for_overwrite<uint8_t[]>(ISAL_DEF_LVL1_DEFAULT)),
        output_(std::make_unique_for_overwrite<std::byte[]>(kOutputBytes)) {
    isal_deflate_init(&stream_);
    stream_.gzip_flag = IGZIP_GZIP;
    stream_.level = 1;
    stream_.level_buf = level_.get();
    stream_.level_buf_size = ISAL_DEF_LVL1_DEFAULT;
  }

  Status write(Bytes bytes) override {
    while (!bytes.empty()) {
      Bytes part = bytes.first(std::min(bytes.size(), kMaxSpan));
      SKIFF_TRY(run(part));
      bytes = bytes.subspan(part.size());
    }
    return ok();
  }

  Status finish() override {
    stream_.end_of_stream = 1;
    return run({});
  }

 private:
  Status run(Bytes bytes) {
    stream_.next_in = reinterpret_cast<uint8_t*>(const_cast<std::byte*>(bytes.data()));
    stream_.avail_in = static_cast<uint32_t>(bytes.size());
    do {
      stream_.next_out = reinterpret_cast<uint8_t*>(output_.get());
      stream_.avail_out = kOutputBytes;
      int code = isal_deflate(&stream_);
      SKIFF_CHECK(code == COMP_OK, "ISA-L deflates any bytes");
      size_t made = kOutputBytes - stream_.avail_out;
      if (made > 0) SKIFF_TRY(sink_.write({output_.get(), made}));
    } while (stream_.avail_in > 0 || stream_.avail_out == 0);
    return ok();
  }

  ByteSink& sink_;
  isal_zstream stream_;
  std::unique_ptr<uint8_t[]> level_;
  std::unique_ptr<std::byte[]> output_;
};

}  // namespace

std::unique_ptr<ByteSource> make_gzip_source(ByteSource& source) {
  return std::make_unique<GzipSource>(source);
}

std::unique_ptr<Compressor> make_gzip_compressor(ByteSink& sink) {
  return std::make_unique<GzipCompressor>(sink);
}

}  // namespace skiff::codec
