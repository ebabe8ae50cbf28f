#include "metadata/store.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "metadata/rows.h"
#include "metadata/sqlite.h"

namespace skiff::metadata {
namespace {

const CrashPoint kWrite{"test.store.write"};

class StoreTest : public testing::Test {
 protected:
  void open() {
    store_.reset();
    auto opened = Store::open(file_, {.boot_id = "boot-1"});
    ASSERT_TRUE(opened) << opened.error().message();
    store_ = *std::move(opened);
  }
  void SetUp() override { open(); }

  Status write(Durability durability, std::function<Status(Transaction&)> fn) {
    return store_->write(context_, kWrite, durability, std::move(fn));
  }
  Status add_intent(const std::string& body, Durability durability = Durability::kDurable) {
    return write(durability, [&](Transaction& txn) -> Status {
      SKIFF_TRY(intents::put(txn, "test", body));
      return ok();
    });
  }
  size_t count_intents() {
    size_t count = 0;
    Status status = store_->read(context_, [&](Reader& reader) -> Status {
      count = SKIFF_TRY(intents::list(reader)).size();
      return ok();
    });
    EXPECT_TRUE(status) << status.error().message();
    return count;
  }

  sys::TempDir dir_;
  sys::Path file_ = dir_.path() / "metadata.db";
  Context context_;
  std::unique_ptr<Store> store_;
};

TEST_F(StoreTest, WhatWasWrittenIsThereAfterReopening) {
  ASSERT_TRUE(add_intent("a"));
  ASSERT_TRUE(add_intent("b", Durability::kRides));
  EXPECT_EQ(count_intents(), 2u);
  open();
  EXPECT_EQ(count_intents(), 2u);
}

TEST_F(StoreTest, AFailingTransactionLeavesNothingAndFailsAlone) {
  std::atomic<int> good = 0;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 16; ++i)
    threads.emplace_back([&, i] {
      for (int k = 0; k < 20; ++k) {
        Status status = write(Durability::kDurable, [&](Transaction& txn) -> Status {
          SKIFF_TRY(intents::put(txn, "test", "x"));
          if (i % 2 == 0) return fail(Code::kAborted, "on purpose");
          return ok();
        });
        EXPECT_EQ(status.has_value(), i % 2 != 0);
        if (status) good++;
      }
    });
  threads.clear();
  EXPECT_EQ(good, 160);
  EXPECT_EQ(count_intents(), 160u);
}

}  // namespace
}  // namespace skiff::metadata
