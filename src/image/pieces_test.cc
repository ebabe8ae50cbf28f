#include "image/pieces.h"

#include <thread>

#include <gtest/gtest.h>

namespace skiff::image {
namespace {

TEST(Pieces, ThePrefixGrowsWithinThePieceAtItsEndOnly) {
  Pieces pieces(0, 100, 40, 1000);
  auto a = pieces.take(Context());
  auto b = pieces.take(Context());
  auto c = pieces.take(Context());
  ASSERT_TRUE(a && b && c);
  EXPECT_EQ(c->end, 100u);
  EXPECT_FALSE(pieces.take(Context()));
  pieces.add(b->begin, 40);
  pieces.add(a->begin, 10);
  EXPECT_EQ(pieces.wait_past(Context(), 0).value(), 10u);
  pieces.add(a->begin, 30);
  EXPECT_EQ(pieces.wait_past(Context(), 10).value(), 80u);
  pieces.add(c->begin, 20);
  EXPECT_EQ(pieces.wait_past(Context(), 80).value(), 100u);
}

TEST(Pieces, StartsWhereAnEarlierTryStood) {
  Pieces pieces(30, 100, 100, 1000);
  EXPECT_EQ(pieces.take(Context())->begin, 30u);
}

TEST(Pieces, NobodyRunsAheadOfTheWindow) {
  Pieces pieces(0, 100, 10, 20);
  auto first = pieces.take(Context());
  auto second = pieces.take(Context());
  std::stop_source stop;
  stop.request_stop();
  EXPECT_FALSE(pieces.take(Context().with_stop(stop.get_token())));
  std::jthread later([&] { pieces.add(first->begin, 10); });
  EXPECT_EQ(pieces.take(Context())->begin, 20u);
  EXPECT_EQ(second->begin, 10u);
}

TEST(Pieces, AnErrorWakesReadersButWhatIsThereStaysReadable) {
  Pieces pieces(0, 100, 50, 1000);
  auto first = pieces.take(Context());
  pieces.add(first->begin, 5);
  pieces.fail_with(Error(Code::kUnavailable, "reset"));
  EXPECT_EQ(pieces.wait_past(Context(), 0).value(), 5u);
  EXPECT_EQ(pieces.wait_past(Context(), 5).error().message(), "reset");
  EXPECT_FALSE(pieces.take(Context()));
}

TEST(Pieces, AnEmptyBlobIsAllThere) {
  Pieces pieces(0, 0, 50, 1000);
  EXPECT_FALSE(pieces.take(Context()));
  EXPECT_EQ(pieces.wait_past(Context(), 0).value(), 0u);
}

}  // namespace
}  // namespace skiff::image
