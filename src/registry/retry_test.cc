#include "registry/retry.h"

#include <gtest/gtest.h>

namespace skiff::registry {
namespace {

using namespace std::chrono_literals;

TEST(RetryAfterTest, SecondsAndDates) {
  auto now = std::chrono::system_clock::from_time_t(784111777);  // 06 Nov 1994 08:49:37
  EXPECT_EQ(parse_retry_after("0", now), 0ms);
  EXPECT_EQ(parse_retry_after("120", now), 120s);
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:39 GMT", now), 2s);
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:30 GMT", now), 0ms);
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 0997 08:49:39 GMT", now), 0ms);
  EXPECT_GT(parse_retry_after("Sun, 06 Nov 9999 08:49:39 GMT", now), 24h);
  for (const char* bad : {"", "soon", "-1", "1.5", "12 monkeys", "Sun, 06 Nov 1994 08:49:39 CET"})
    EXPECT_FALSE(parse_retry_after(bad, now)) << bad;
}

TEST(BackoffTest, EndsAfterItsAttempts) {
  RetryPolicy policy{3, 1ms, 2ms, 10ms};
  Backoff backoff(policy);
  EXPECT_TRUE(*backoff.wait(Context(), {}));
  EXPECT_TRUE(*backoff.wait(Context(), {}));
  EXPECT_FALSE(*backoff.wait(Context(), {}));
  backoff.reset();
  EXPECT_TRUE(*backoff.wait(Context(), {}));
}

TEST(BackoffTest, WaitsAsAskedWithinItsBound) {
  RetryPolicy policy{5, 1ms, 2ms, 100ms};
  Backoff backoff(policy);
  auto start = Context::Clock::now();
  EXPECT_TRUE(*backoff.wait(Context(), 30ms));
  EXPECT_GE(Context::Clock::now() - start, 30ms);
  EXPECT_FALSE(*backoff.wait(Context(), 101ms));
}

TEST(BackoffTest, TheContextEndsIt) {
  RetryPolicy policy{5, 60s, 60s, 60s};
  Backoff backoff(policy);
  auto late = backoff.wait(Context().with_timeout(1s), {});
  ASSERT_FALSE(late) << "a wait beyond the deadline must not begin";
  EXPECT_EQ(late.error().code(), Code::kDeadlineExceeded);
  std::stop_source stop;
  stop.request_stop();
  auto stopped = backoff.wait(Context().with_stop(stop.get_token()), {});
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code(), Code::kCanceled);
}

}  // namespace
}  // namespace skiff::registry
