// The fake's own side; how a ContentStore behaves is the suite's.
#include "content/memory_content_store.h"

#include <gtest/gtest.h>

#include "codec/hash.h"

namespace skiff::content {
namespace {

TEST(MemoryContentStoreTest, FaultsAreReturnedAndNothingIsDone) {
  MemoryContentStore store;
  Context context;
  std::string failing = "write";
  store.set_fault([&](std::string_view operation) -> Status {
    if (operation == failing)
      return fail(Code::kResourceExhausted, "{} is told to fail", operation);
    return ok();
  });
  auto ingest = *store.ingest(context, "r", {});
  EXPECT_TRUE(ingest->write(as_bytes("abc")).error().is(Code::kResourceExhausted));
  EXPECT_EQ(ingest->offset(), 0u);
  failing = "commit";
  ASSERT_TRUE(ingest->write(as_bytes("abc")));
  EXPECT_TRUE(ingest->commit(context, {}, {}).error().is(Code::kResourceExhausted));
  EXPECT_TRUE(store.info(context, codec::digest_of("abc")).error().is(Code::kNotFound));
  failing.clear();
  EXPECT_TRUE(ingest->commit(context, {}, {}));
}

TEST(MemoryContentStoreTest, DamageChangesAByte) {
  MemoryContentStore store;
  Context context;
  auto ingest = *store.ingest(context, "r", {});
  ASSERT_TRUE(ingest->write(as_bytes("abc")));
  Digest digest = *ingest->commit(context, {}, {});
  ASSERT_TRUE(store.damage(digest, 1));
  auto bytes = source(*store.open(context, digest));
  EXPECT_NE(read_all(*bytes, 10).value(), "abc");
  EXPECT_TRUE(store.damage(digest, 3).error().is(Code::kNotFound));
}

}  // namespace
}  // namespace skiff::content
