#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "base/context.h"
#include "base/crash_point.h"
#include "base/digest.h"
#include "base/guarded.h"
#include "base/log.h"
#include "base/random_id.h"
#include "base/stream.h"

namespace skiff {
namespace {

Result<int> half(int n) {
  if (n % 2 != 0) return fail(Code::kInvalidArgument, "{} is odd", n);
  return n / 2;
}

Result<int> quarter(int n) {
  int h = SKIFF_TRY(half(n));
  return SKIFF_TRY_WRAP(half(h), "quarter of {}", n);
}

TEST(Error, TryPassesValuesAndWrapsErrors) {
  EXPECT_EQ(quarter(8).value(), 2);
  EXPECT_EQ(quarter(3).error().message(), "3 is odd");
  EXPECT_EQ(quarter(6).error().message(), "quarter of 6: 3 is odd");
  EXPECT_TRUE(quarter(6).error().is(Code::kInvalidArgument));
}

TEST(Error, ErrnoDecidesTheCode) {
  EXPECT_EQ(errno_error(ENOENT, "open /x").code(), Code::kNotFound);
  EXPECT_EQ(errno_error(ENOSPC, "write").code(), Code::kResourceExhausted);
  EXPECT_EQ(errno_error(ENOENT, "open /x").message(), "open /x: No such file or directory");
}

TEST(Digest, ParsesWhatTheSpecificationAllows) {
  std::string hex(64, 'a');
  EXPECT_EQ(Digest::parse("sha256:" + hex)->hex(), hex);
  EXPECT_EQ(Digest::parse("sha512:" + std::string(128, '0'))->algorithm(),
            DigestAlgorithm::kSha512);
  for (std::string bad :
       {std::string(""), hex, "sha256:" + std::string(63, 'a'), "sha256:" + std::string(64, 'A'),
        "md5:" + std::string(32, 'a'), "sha256:" + std::string(64, 'g'), "sha256:" + hex + "\n"})
    EXPECT_FALSE(Digest::parse(bad)) << bad;
}

TEST(Context, DeadlineAndStopAreSeenAndDetachedForgetsThem) {
  std::stop_source source;
  Context context = Context().with_stop(source.get_token()).with_namespace("k8s.io");
  EXPECT_TRUE(context.check());
  source.request_stop();
  EXPECT_EQ(context.check().error().code(), Code::kCanceled);
  EXPECT_TRUE(context.detached().check());
  EXPECT_EQ(context.detached().name_space(), "k8s.io");
  Context late = Context().with_timeout(std::chrono::milliseconds(-1));
  EXPECT_EQ(late.check().error().code(), Code::kDeadlineExceeded);
  EXPECT_EQ(*late.with_timeout(std::chrono::hours(1)).deadline(), *late.deadline());
}

TEST(Guarded, WaitsUntilTheConditionHolds) {
  Guarded<int> count;
  std::condition_variable_any changed;
  std::jthread writer([&] {
    *count.lock() = 3;
    changed.notify_all();
  });
  auto guard = count.lock();
  guard.wait(changed, [&] { return *guard == 3; });
  EXPECT_EQ(*guard, 3);
}

TEST(Stream, ReadAllIsBounded) {
  MemorySource fits("12345");
  EXPECT_EQ(read_all(fits, 5).value(), "12345");
  MemorySource longer("123456");
  EXPECT_EQ(read_all(longer, 5).error().code(), Code::kResourceExhausted);
}

const CrashPoint kTestPoint{"base.test.point"};

TEST(CrashPoint, IsListedAndDoesNothingUnarmed) {
  kTestPoint.before();
  auto all = CrashPoint::all();
  EXPECT_NE(std::ranges::find(all, &kTestPoint), all.end());
}

TEST(RandomId, IsHexOfTwiceTheLengthAndDiffers) {
  EXPECT_EQ(random_id(8).size(), 16u);
  EXPECT_NE(random_id(8), random_id(8));
}

}  // namespace
}  // namespace skiff
