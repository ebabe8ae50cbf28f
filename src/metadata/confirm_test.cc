#include "metadata/confirm.h"

#include <gmock/gmock.h>

#include <atomic>
#include <latch>

#include "metadata/check.h"
#include "metadata/store_fixture.h"

namespace skiff::metadata {
namespace {

class ConfirmTest : public StoreFixture {
 protected:
  void start(Confirmer::Options options) {
    auto started = Confirmer::start(*store_, root(), std::move(options));
    ASSERT_TRUE(started) << started.error().message();
    confirmer_ = *std::move(started);
  }
  std::vector<Confirmer::FileSystem> root() {
    std::vector<Confirmer::FileSystem> systems;
    systems.push_back({*sys::open_dir(dir_.path()), dir_.path()});
    return systems;
  }
  void put(char hex, const std::string& boot = "boot-1") {
    SKIFF_ASSERT_OK(write([&](Transaction& txn) {
      return blobs::put(txn, "a", {.digest = digest(hex), .size = 1, .unconfirmed_boot = boot}, "");
    }));
  }
  std::string state(char hex) {
    return get([&](Reader& r) { return blobs::get_shared(r, digest(hex)); }).unconfirmed_boot;
  }

  std::unique_ptr<Confirmer> confirmer_;  // goes before the store
};

TEST_F(ConfirmTest, ConfirmNowClearsWhatWasWrittenInThisBoot) {
  start({});
  put('1');
  put('2', "boot-0");
  SKIFF_ASSERT_OK(confirmer_->confirm_now(context_));
  EXPECT_EQ(state('1'), "");
  EXPECT_EQ(state('2'), "boot-0") << "of another boot: to be verified, not confirmed";
  SKIFF_ASSERT_OK(confirmer_->confirm_now(context_));
}

TEST_F(ConfirmTest, WhatIsNotedIsConfirmedSoon) {
  std::latch synced(1);
  start({.delay = std::chrono::milliseconds(1), .sync = [&](const sys::Path&) -> Status {
           synced.count_down();
           return ok();
         }});
  put('1');
  confirmer_->note_written();
  synced.wait();
  // The round that has synced is the one that this waits for, or one before it.
  SKIFF_ASSERT_OK(confirmer_->confirm_now(context_));
  EXPECT_EQ(state('1'), "");
}

TEST_F(ConfirmTest, WhatIsWrittenDuringTheSyncWaitsForTheNext) {
  start({.sync = [&](const sys::Path&) -> Status {
    put('2');
    return ok();
  }});
  put('1');
  SKIFF_ASSERT_OK(confirmer_->confirm_now(context_));
  EXPECT_EQ(state('1'), "");
  EXPECT_EQ(state('2'), "boot-1");
}

TEST_F(ConfirmTest, AFailedSyncMakesTheWholeUnconfirmedSetSuspectForGood) {
  std::atomic<int> code = EIO;
  std::atomic<int> told = 0;
  start({.on_failure = [&](const Error&) { told++; },
         .sync = [&](const sys::Path&) -> Status {
           if (code == 0) return ok();
           return fail_errno(code, "syncfs");
         }});
  put('1');
  put('2', "");
  Status status = confirmer_->confirm_now(context_);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), Code::kDataLoss);
  EXPECT_EQ(told, 1);
  code = 0;
  put('3');
  SKIFF_ASSERT_OK(confirmer_->confirm_now(context_));
  EXPECT_EQ(state('1'), kSyncFailed) << "a later sync says nothing about it";
  EXPECT_EQ(state('2'), "");
  EXPECT_EQ(state('3'), "");
  confirmer_.reset();
  open("boot-1");  // a restart within the boot
  auto suspects = get([](Reader& r) { return blobs::suspects(r, "boot-1"); });
  ASSERT_EQ(suspects.size(), 1u);
  EXPECT_EQ(suspects[0].digest, digest('1'));
  EXPECT_EQ(check(context_, *store_)->at(0).kind, "unconfirmed");
}

TEST_F(ConfirmTest, AWaiterMayGiveUp) {
  std::latch release(1);
  start({.sync = [&](const sys::Path&) -> Status {
    release.wait();
    return ok();
  }});
  put('1');
  Context hurried = context_.with_timeout(std::chrono::milliseconds(1));
  EXPECT_EQ(code_of(confirmer_->confirm_now(hurried)), Code::kDeadlineExceeded);
  release.count_down();
  SKIFF_ASSERT_OK(confirmer_->confirm_now(context_));
  EXPECT_EQ(state('1'), "");
}

}  // namespace
}  // namespace skiff::metadata
