#include "layer/pipeline.h"

#include <gtest/gtest.h>

#include <thread>

#include "codec/hash.h"
#include "codec/tar/reader.h"
#include "layer/ring.h"
#include "sys/file.h"
#include "tests/lib/layers.h"

namespace skiff::layer {
namespace {

using namespace skiff::testing;
using codec::Compression;

std::string packed(std::string_view text, Compression compression) {
  StringSink sink;
  auto compressor = codec::compress(sink, compression);
  EXPECT_TRUE(compressor->write(as_bytes(text)) && compressor->finish());
  return sink.take();
}

class Pipeline : public ::testing::TestWithParam<Compression> {
 protected:
  Pipeline() {
    LayerItems items = {item_dir("d")};
    for (int i = 0; i < 300; ++i)
      items.push_back(item_file(fmt::format("d/f{}", i), std::string(20'000 + i, 'a' + i % 26)));
    tar_ = layer_tar(items);
    blob_ = packed(tar_, GetParam());
    expected_.blob = codec::digest_of(blob_);
    expected_.blob_size = blob_.size();
    expected_.diff_id = codec::digest_of(tar_);
  }
  Result<StagedOutcome> stage(const std::string& blob) {
    sys::TempDir dir;
    auto fd = sys::open_dir(dir.path());
    MemorySource source(blob);
    auto result = stage_layer(Context(), source, expected_, *applier_, fd->get(), {});
    if (result) {
      EXPECT_TRUE(sys::path_exists(dir.path() / "d/f299"));
    }
    return result;
  }

  std::string tar_, blob_;
  Expected expected_;
  std::unique_ptr<Applier> applier_ = make_tar_applier();
};
INSTANTIATE_TEST_SUITE_P(
    All, Pipeline, ::testing::Values(Compression::kNone, Compression::kGzip, Compression::kZstd),
    [](auto& info) { return std::string(codec::compression_name(info.param)); });

TEST_P(Pipeline, AppliesAndTellsWhatItWas) {
  auto staged = stage(blob_);
  ASSERT_TRUE(staged) << staged.error().message();
  EXPECT_EQ(staged->outcome.blob, expected_.blob);
  EXPECT_EQ(staged->outcome.diff_id, expected_.diff_id);
  EXPECT_EQ(staged->outcome.blob_size, blob_.size());
  EXPECT_EQ(staged->outcome.diff_size, tar_.size());
  EXPECT_EQ(staged->outcome.compression, GetParam());
  EXPECT_EQ(staged->layer.stats().entries, 301u);
  EXPECT_GT(staged->outcome.times.total, 0u);
  EXPECT_GT(staged->outcome.times.untar, 0u);
}

TEST_P(Pipeline, SaysWhichExpectationFailed) {
  Expected right = expected_;
  auto message = [&] { return stage(blob_).error().message(); };
  expected_.diff_id = codec::digest_of("other");
  EXPECT_EQ(message().substr(0, 13), "wrong diff ID");
  EXPECT_TRUE(stage(blob_).error().is(Code::kDataLoss));
  expected_ = right;
  expected_.blob = codec::digest_of("other");
  EXPECT_EQ(message().substr(0, 17), "wrong blob digest");
  expected_ = right;
  expected_.blob_size = blob_.size() + 1;
  EXPECT_NE(message().find("bytes where"), std::string::npos);
  expected_.blob_size = blob_.size() - 1;
  EXPECT_NE(message().find("is longer than"), std::string::npos);
}

TEST_P(Pipeline, ABadTarInTheWrongBlobIsAWrongBlob) {
  std::string other = packed("this is no tar at all" + std::string(2000, 'x'), GetParam());
  expected_.blob_size = other.size();
  auto result = stage(other);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message().substr(0, 17), "wrong blob digest");
  expected_.blob = codec::digest_of(other);
  result = stage(other);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), Code::kInvalidArgument) << result.error().message();
}

TEST_P(Pipeline, AVerifiedBlobIsNotHashedAgain) {
  expected_.blob_is_verified = true;
  auto staged = stage(blob_);
  ASSERT_TRUE(staged);
  EXPECT_EQ(staged->outcome.times.blob_hash, 0u);
  EXPECT_EQ(staged->outcome.blob, expected_.blob);
}

TEST_P(Pipeline, ATornSourceEndsBothHalves) {
  class Torn : public ByteSource {
   public:
    explicit Torn(std::string_view text) : memory_(text) {}
    Result<size_t> read(MutableBytes buffer) override {
      size_t n = SKIFF_TRY(memory_.read(buffer));
      if (n == 0) return fail(Code::kUnavailable, "connection reset");
      return n;
    }

   private:
    MemorySource memory_;
  } source(std::string_view(blob_).substr(0, blob_.size() / 2));
  sys::TempDir dir;
  auto fd = sys::open_dir(dir.path());
  auto result = stage_layer(Context(), source, expected_, *applier_, fd->get(), {});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message(), "connection reset");
}

TEST_P(Pipeline, AFailingReaderStopsTheSource) {
  // An endless source: only stopping ends this test.
  class Endless : public ByteSource {
   public:
    Result<size_t> read(MutableBytes buffer) override {
      std::ranges::fill(buffer, std::byte{0});
      return buffer.size();
    }
  } source;
  Expected expected{.compression = Compression::kNone};
  auto result = run_pipeline(Context(), source, expected, [](codec::Window&) -> Status {
    return fail(Code::kResourceExhausted, "no space left on device");
  });
  EXPECT_EQ(result.error().message(), "no space left on device");
}

TEST(Ring, PassesAllBytesInOrderUnderPressure) {
  Ring ring(3, 64);
  std::thread filler([&] {
    for (int i = 0; i < 20'000; ++i) {
      auto chunk = ring.acquire();
      ASSERT_TRUE(chunk);
      size_t size = 1 + static_cast<size_t>(i) % chunk->size();
      std::ranges::fill(chunk->first(size), std::byte(i));
      ring.publish(size);
    }
    ring.close();
  });
  for (int i = 0; i < 20'000; ++i) {
    auto chunk = ring.next();
    ASSERT_TRUE(chunk);
    ASSERT_EQ(chunk->size(), 1 + static_cast<size_t>(i) % 64);
    ASSERT_EQ(chunk->back(), std::byte(i));
  }
  EXPECT_TRUE(ring.next()->empty());
  filler.join();
}

}  // namespace
}  // namespace skiff::layer
