#include "base/key_locks.h"

#include <atomic>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace skiff {
namespace {

TEST(KeyLocks, OneHolderAKey) {
  KeyLocks locks;
  auto a = locks.try_lock("a");
  ASSERT_TRUE(a);
  EXPECT_FALSE(locks.try_lock("a"));
  EXPECT_TRUE(locks.try_lock("b")) << "other keys are free";
  a.reset();
  EXPECT_TRUE(locks.try_lock("a"));
}

TEST(KeyLocks, MovedHoldersReleaseOnce) {
  KeyLocks locks;
  {
    auto first = locks.lock("a");
    auto second = std::move(first);
    EXPECT_FALSE(locks.try_lock("a"));
  }
  EXPECT_TRUE(locks.try_lock("a"));
}

TEST(KeyLocks, WaitersComeInOneAfterAnother) {
  KeyLocks locks;
  std::atomic<int> inside{0};
  std::atomic<bool> crowded{false};
  int total = 0;  // guarded by the key
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      for (int round = 0; round < 200; ++round) {
        auto held = locks.lock("key");
        if (inside.fetch_add(1) != 0) crowded = true;
        ++total;
        inside.fetch_sub(1);
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_FALSE(crowded);
  EXPECT_EQ(total, 1600);
}

}  // namespace
}  // namespace skiff
