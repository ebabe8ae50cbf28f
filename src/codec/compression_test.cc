#include "codec/compression.h"

#include <gtest/gtest.h>

#include <random>

#include <zstd.h>

#include "codec/hash.h"

namespace skiff::codec {
namespace {

// Text that compresses, and noise that does not.
std::string sample(size_t size, unsigned seed = 1) {
  std::mt19937 random(seed);
  std::string text;
  while (text.size() < size) {
    if (random() % 4 == 0)
      for (int i = 0; i < 500; ++i) text += static_cast<char>(random());
    else
      text += fmt::format("line {} of a file that has many like it\n", random() % 1000);
  }
  text.resize(size);
  return text;
}

std::string packed(std::string_view text, Compression compression) {
  StringSink sink;
  auto compressor = compress(sink, compression);
  EXPECT_TRUE(compressor->write(as_bytes(text)));
  EXPECT_TRUE(compressor->finish());
  return sink.take();
}

// Hands out at most `step` bytes at a time.
class Dripping : public ByteSource {
 public:
  Dripping(std::string_view text, size_t step) : memory_(text), step_(step) {}
  Result<size_t> read(MutableBytes buffer) override {
    return memory_.read(buffer.first(std::min(buffer.size(), step_)));
  }

 private:
  MemorySource memory_;
  size_t step_;
};

Result<std::string> unpacked(std::string_view bytes, Compression compression, size_t step = 1 << 20,
                             size_t buffer_size = 1 << 20) {
  Dripping source(bytes, step);
  auto plain = decompress(source, compression);
  std::string text, buffer(buffer_size, '\0');
  for (;;) {
    size_t n = SKIFF_TRY(plain->read(std::as_writable_bytes(std::span(buffer))));
    if (n == 0) return text;
    text.append(buffer, 0, n);
  }
}

class Formats : public testing::TestWithParam<Compression> {};
INSTANTIATE_TEST_SUITE_P(All, Formats,
                         testing::Values(Compression::kNone, Compression::kGzip,
                                         Compression::kZstd),
                         [](auto& info) { return std::string(compression_name(info.param)); });

TEST_P(Formats, WhatGoesInComesOut) {
  for (size_t size : {size_t{0}, size_t{1}, size_t{70'000}, size_t{3'000'000}}) {
    std::string text = sample(size);
    EXPECT_EQ(unpacked(packed(text, GetParam()), GetParam()).value(), text) << size;
  }
}

TEST_P(Formats, ComesOutTheSameInPiecesOfAnySize) {
  std::string text = sample(200'000);
  std::string bytes = packed(text, GetParam());
  for (size_t step : {1, 2, 3, 7, 511, 65536})
    for (size_t buffer : {1, 13, 4096, 300'000}) {
      if (step < 8 && buffer < 8) continue;
      EXPECT_EQ(unpacked(bytes, GetParam(), step, buffer).value(), text) << step << " " << buffer;
    }
}

TEST_P(Formats, IsDetectedByItsFirstBytes) {
  std::string text = sample(10'000);
  std::string bytes = packed(text, GetParam());
  Dripping source(bytes, 1);
  auto detected = decompress(source);
  ASSERT_TRUE(detected);
  EXPECT_EQ(detected->compression, GetParam());
  EXPECT_EQ(read_all(*detected->source, 1 << 20).value(), text);
}

class Compressed : public testing::TestWithParam<Compression> {};
INSTANTIATE_TEST_SUITE_P(All, Compressed, testing::Values(Compression::kGzip, Compression::kZstd),
                         [](auto& info) { return std::string(compression_name(info.param)); });

TEST_P(Compressed, ManyMembersAreOneStream) {
  std::string bytes, text;
  for (unsigned i = 0; i < 40; ++i) {
    std::string part = sample(i * 997, i);
    bytes += packed(part, GetParam());
    text += part;
  }
  for (size_t step : {1, 5, 10, 1000, 1 << 20})
    EXPECT_EQ(unpacked(bytes, GetParam(), step).value(), text) << step;
}

TEST_P(Compressed, EveryTruncationIsDataLoss) {
  std::string text = sample(3000);
  std::string bytes = packed(text, GetParam());
  std::string two = bytes + bytes;
  for (size_t size = 0; size < two.size(); ++size) {
    if (size == bytes.size()) continue;
    auto result = unpacked(std::string_view(two).substr(0, size), GetParam());
    ASSERT_FALSE(result) << size;
    EXPECT_EQ(result.error().code(), Code::kDataLoss) << size;
  }
}

TEST_P(Compressed, EveryGarbageAfterTheEndIsRefused) {
  std::string bytes = packed(sample(3000), GetParam());
  for (std::string garbage :
       {std::string("x"), std::string("\x1f"), std::string("\x1fz"), std::string("\x28\xb5\x2f"),
        std::string("\0\0\0x", 4), sample(300'000)}) {
    for (size_t step : {1, 100, 1 << 20}) {
      auto result = unpacked(bytes + garbage, GetParam(), step);
      ASSERT_FALSE(result) << garbage.substr(0, 10);
      EXPECT_EQ(result.error().code(), Code::kDataLoss);
    }
  }
}

TEST_P(Compressed, AChangedByteIsNeverTakenForTheSameText) {
  std::string text = sample(2000);
  std::string bytes = packed(text, GetParam());
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string changed = bytes;
    changed[i] ^= 0x10;
    auto result = unpacked(changed, GetParam());
    // A few header bits (time, system) carry nothing; all others are found out.
    EXPECT_EQ(result.value_or(text), text) << i;
  }
}

TEST_P(Compressed, ErrorsOfTheSourcePass) {
  class Broken : public ByteSource {
    Result<size_t> read(MutableBytes) override { return fail(Code::kUnavailable, "reset"); }
  } broken;
  std::byte buffer[10];
  EXPECT_EQ(decompress(broken, GetParam())->read(buffer).error().code(), Code::kUnavailable);
  EXPECT_EQ(decompress(broken).error().code(), Code::kUnavailable);
}

TEST(Gzip, ZeroPaddingAfterTheLastMemberIsIgnored) {
  std::string bytes = packed("text", Compression::kGzip);
  for (size_t zeros : {1, 2, 511, 300'000})
    EXPECT_EQ(unpacked(bytes + std::string(zeros, '\0'), Compression::kGzip).value(), "text")
        << zeros;
  auto late = unpacked(bytes + std::string(300'000, '\0') + bytes, Compression::kGzip);
  EXPECT_EQ(late.error().message(),
            fmt::format("gzip stream at byte {}: garbage after the end of member 1",
                        bytes.size() + 300'000));
  EXPECT_FALSE(unpacked(std::string(512, '\0'), Compression::kGzip));
}

TEST(Gzip, OptionalHeaderFieldsAreSkipped) {
  std::string bytes = packed("text", Compression::kGzip);
  std::string head = bytes.substr(0, 10);
  head[3] = 0x04 | 0x08 | 0x10;  // extra field, name, comment
  std::string extra("\x05\0abcde", 7);
  std::string named = head + extra + std::string("name\0", 5) + std::string(5000, 'c') +
                      std::string(1, '\0') + bytes.substr(10);
  for (size_t step : {1, 3, 1 << 20})
    EXPECT_EQ(unpacked(named, Compression::kGzip, step).value(), "text") << step;
}

TEST(Gzip, CompressesTheSameWayEachTime) {
  std::string text = sample(500'000);
  StringSink sink;
  auto compressor = compress(sink, Compression::kGzip);
  for (size_t i = 0; i < text.size(); i += 777)
    ASSERT_TRUE(compressor->write(as_bytes(std::string_view(text).substr(i, 777))));
  ASSERT_TRUE(compressor->finish());
  EXPECT_EQ(unpacked(sink.take(), Compression::kGzip).value(), text);
  EXPECT_EQ(packed(text, Compression::kGzip), packed(text, Compression::kGzip));
}

TEST(Zstd, SkippableFramesAreSkipped) {
  std::string skippable("\x51\x2a\x4d\x18\x03\0\0\0abc", 11);
  std::string bytes = skippable + packed("one", Compression::kZstd) + skippable +
                      packed("two", Compression::kZstd) + skippable;
  EXPECT_EQ(detect(as_bytes(bytes)), Compression::kZstd);
  for (size_t step : {1, 4, 1 << 20})
    EXPECT_EQ(unpacked(bytes, Compression::kZstd, step).value(), "onetwo") << step;
}

TEST(Zstd, FormatsFromBeforeTheStandardAreRefused) {
  for (char version : {0x22, 0x23, 0x24, 0x25, 0x26, 0x27}) {
    std::string bytes = packed("text", Compression::kZstd);
    bytes[0] = version;
    EXPECT_EQ(unpacked(bytes, Compression::kZstd).error().message(),
              "not a zstd stream: it starts with other bytes");
  }
}

TEST(Zstd, AHugeWindowIsRefused) {
  std::string bytes(1 << 16, '\0');
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, 28);
  ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
  ZSTD_inBuffer in{"text", 4, 0};
  ZSTD_outBuffer out{bytes.data(), bytes.size(), 0};
  ZSTD_compressStream2(context, &out, &in, ZSTD_e_continue);
  ASSERT_EQ(ZSTD_compressStream2(context, &out, &in, ZSTD_e_end), 0u);
  ZSTD_freeCCtx(context);
  bytes.resize(out.pos);
  EXPECT_EQ(unpacked(bytes, Compression::kZstd).error().code(), Code::kResourceExhausted);
}

}  // namespace
}  // namespace skiff::codec
