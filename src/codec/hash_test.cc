#include "codec/hash.h"

#include <gtest/gtest.h>

namespace skiff::codec {
namespace {

TEST(Hash, KnowsTheStandardsVectors) {
  EXPECT_EQ(digest_of("abc").str(),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(digest_of(as_bytes("abc"), DigestAlgorithm::kSha512).hex().substr(0, 16),
            "ddaf35a193617aba");
  EXPECT_EQ(digest_of("").hex().substr(0, 8), "e3b0c442");
}

TEST(Hash, StartsAnewAfterFinish) {
  Hasher hasher;
  hasher.update(as_bytes("a"));
  hasher.update(as_bytes("bc"));
  EXPECT_EQ(hasher.finish(), digest_of("abc"));
  hasher.update(as_bytes("abc"));
  EXPECT_EQ(hasher.finish(), digest_of("abc"));
}

TEST(Hash, StreamsCountAndHashWhatPasses) {
  MemorySource memory("abc");
  HashingSource source(memory);
  StringSink text;
  HashingSink sink(text);
  EXPECT_EQ(copy(source, sink).value(), 3u);
  EXPECT_EQ(source.size(), 3u);
  EXPECT_EQ(source.finish(), sink.finish());
  EXPECT_EQ(text.take(), "abc");
}

}  // namespace
}  // namespace skiff::codec
