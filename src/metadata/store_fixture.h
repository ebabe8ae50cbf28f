// What this folder's tests share: a store in a folder of its own, and short ways to use it.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "metadata/rows.h"
#include "metadata/store.h"

namespace skiff::metadata {

inline const CrashPoint kTestWrite{"test.metadata.write"};

#define SKIFF_ASSERT_OK(...)                                                   \
  do {                                                                         \
    auto skiff_assert_result = (__VA_ARGS__);                                  \
    ASSERT_TRUE(skiff_assert_result) << skiff_assert_result.error().message(); \
  } while (false)

class StoreFixture : public testing::Test {
 protected:
  void SetUp() override { open(); }
  void open(const std::string& boot = "boot-1") {
    store_.reset();
    auto opened = Store::open(file_, {.boot_id = boot});
    ASSERT_TRUE(opened) << opened.error().message();
    store_ = *std::move(opened);
  }

  Status write(std::function<Status(Transaction&)> fn, Durability durability = Durability::kRides) {
    return store_->write(context_, kTestWrite, durability, std::move(fn));
  }
  Status read(std::function<Status(Reader&)> fn) { return store_->read(context_, std::move(fn)); }
  // The value that `fn` makes of a reader; fails the test where it cannot.
  template <typename Fn>
  auto get(Fn fn) {
    typename std::invoke_result_t<Fn, Reader&>::value_type value{};
    Status status = read([&](Reader& reader) -> Status {
      value = SKIFF_TRY(fn(reader));
      return ok();
    });
    EXPECT_TRUE(status) << status.error().message();
    return value;
  }
  // The code with which `fn` fails on a reader, kOk when it does not.
  template <typename Fn>
  Code code(Fn fn) {
    Status status = read([&](Reader& reader) -> Status {
      SKIFF_TRY(fn(reader));
      return ok();
    });
    return status ? Code::kOk : status.error().code();
  }
  Code code_of(const Status& status) { return status ? Code::kOk : status.error().code(); }

  // A digest that is all of one hex digit.
  static Digest digest(char hex) {
    return Digest::from_hex(DigestAlgorithm::kSha256, std::string(64, hex));
  }

  sys::TempDir dir_;
  sys::Path file_ = dir_.path() / "metadata.db";
  Context context_;
  std::unique_ptr<Store> store_;
};

}  // namespace skiff::metadata
