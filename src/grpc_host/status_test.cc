#include "grpc_host/status.h"

#include <gtest/gtest.h>

#include "grpc_host/call.h"

namespace skiff::grpc_host {
namespace {

TEST(GrpcStatusTest, CodesGoThereAndBack) {
  for (int number = 1; number <= 16; ++number) {
    Error error(static_cast<Code>(number), "the message");
    grpc::Status status = to_grpc(error);
    EXPECT_EQ(status.error_code(), number);
    Error back = from_grpc(status, "call");
    EXPECT_EQ(back.code(), error.code());
    EXPECT_EQ(back.message(), "call: the message");
  }
}

TEST(GrpcStatusTest, NumbersBeyondTheListAreUnknown) {
  grpc::Status odd(static_cast<grpc::StatusCode>(99), "odd");
  EXPECT_TRUE(from_grpc(odd, "call").is(Code::kUnknown));
  EXPECT_TRUE(check(grpc::Status::OK, "call"));
}

TEST(GrpcCallTest, TheContextTravels) {
  Context context = Context().with_timeout(std::chrono::seconds(10));
  Call call(context);
  auto left = call.get()->deadline() - std::chrono::system_clock::now();
  EXPECT_GT(left, std::chrono::seconds(8));
  EXPECT_LT(left, std::chrono::seconds(11));
  Call endless{Context()};
  EXPECT_EQ(endless.get()->deadline(), std::chrono::system_clock::time_point::max());
}

}  // namespace
}  // namespace skiff::grpc_host
