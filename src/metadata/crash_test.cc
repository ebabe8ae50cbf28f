// The store when its process is killed: a child runs a scenario with a crash point armed, and the
// parent looks at what is left.
#include <gmock/gmock.h>
#include <spawn.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdlib>

#include "metadata/check.h"
#include "metadata/confirm.h"
#include "metadata/gc.h"
#include "metadata/store_fixture.h"

namespace skiff::metadata {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const CrashPoint kFirst{"test.crash.first"};
const CrashPoint kSecond{"test.crash.second"};

constexpr char kScenario[] = "SKIFF_TEST_SCENARIO";
constexpr char kFolder[] = "SKIFF_TEST_FOLDER";

class CrashTest : public StoreFixture {
 protected:
  // Runs the scenario in a child that is to die at `point`, then opens what it left.
  void crash(const std::string& scenario, const std::string& point) {
    store_.reset();
    pid_t child = spawn(scenario, point);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        << scenario << " did not reach " << point;
    open();
    auto findings = check(context_, *store_);
    ASSERT_TRUE(findings) << findings.error().message();
    EXPECT_THAT(*findings, IsEmpty());
  }
  std::vector<std::string> bodies() {
    std::vector<std::string> bodies;
    for (auto& intent : get([](Reader& r) { return intents::list(r); }))
      bodies.push_back(intent.body);
    return bodies;
  }
  size_t blob_count() {
    return get([](Reader& r) { return blobs::list_shared(r); }).size();
  }
  size_t tombstone_count() {
    return get([](Reader& r) { return tombstones::list(r); }).size();
  }

 private:
  pid_t spawn(const std::string& scenario, const std::string& point) {
    std::vector<std::string> variables{fmt::format("{}={}", kScenario, scenario),
                                       fmt::format("{}={}", kFolder, dir_.path().string()),
                                       fmt::format("SKIFF_CRASH_AT={}", point)};
    std::vector<char*> environment;
    for (std::string& variable : variables) environment.push_back(variable.data());
    for (char** inherited = environ; *inherited != nullptr; ++inherited)
      environment.push_back(*inherited);
    environment.push_back(nullptr);
    std::string program = "/proc/self/exe";
    std::string filter = "--gtest_filter=CrashChild.DISABLED_Run";
    std::string disabled = "--gtest_also_run_disabled_tests";
    std::string brief = "--gtest_brief=1";
    char* arguments[] = {program.data(), filter.data(), disabled.data(), brief.data(), nullptr};
    pid_t child = -1;
    EXPECT_EQ(
        posix_spawn(&child, "/proc/self/exe", nullptr, nullptr, arguments, environment.data()), 0);
    return child;
  }
};

Status put_intent(Store& store, const CrashPoint& point, Durability durability,
                  const std::string& body) {
  return store.write(Context(), point, durability, [&](Transaction& txn) -> Status {
    SKIFF_TRY(intents::put(txn, "test", body));
    return ok();
  });
}

Status put_blobs(Store& store, int count) {
  return store.write(Context(), kFirst, Durability::kDurable, [&](Transaction& txn) -> Status {
    for (int i = 0; i < count; ++i) {
      Digest digest = Digest::from_hex(DigestAlgorithm::kSha256, fmt::format("{:064x}", i));
      SKIFF_TRY(blobs::put(txn, "a",
                           {.digest = digest, .size = 1, .unconfirmed_boot = store.boot_id()}, ""));
    }
    return ok();
  });
}

Status run_scenario(const std::string& scenario, const sys::Path& folder) {
  auto store = SKIFF_TRY(Store::open(folder / "metadata.db", {.boot_id = "boot-1"}));
  if (scenario == "write") {
    SKIFF_TRY(put_intent(*store, kFirst, Durability::kDurable, "first"));
    SKIFF_TRY(put_intent(*store, kSecond, Durability::kDurable, "second"));
  } else if (scenario == "ride") {
    SKIFF_TRY(put_intent(*store, kFirst, Durability::kRides, "first"));
    SKIFF_TRY(put_intent(*store, kSecond, Durability::kRides, "second"));
    SKIFF_TRY(store->flush(Context()));
  } else if (scenario == "collect") {
    SKIFF_TRY(put_blobs(*store, 50));
    SKIFF_TRY(collect(Context(), *store));
    SKIFF_TRY(sweep_tombstones(Context(), *store, [](auto&, auto&) { return ok(); }));
  } else if (scenario == "confirm") {
    SKIFF_TRY(put_blobs(*store, 1));
    std::vector<Confirmer::FileSystem> systems;
    systems.push_back({SKIFF_TRY(sys::open_dir(folder)), folder});
    auto confirmer = SKIFF_TRY(Confirmer::start(*store, std::move(systems), {}));
    SKIFF_TRY(confirmer->confirm_now(Context()));
  } else {
    return fail(Code::kInvalidArgument, "no scenario {}", scenario);
  }
  return ok();
}

TEST(CrashChild, DISABLED_Run) {
  const char* scenario = std::getenv(kScenario);
  const char* folder = std::getenv(kFolder);
  if (scenario == nullptr || folder == nullptr) GTEST_SKIP() << "only a crash test starts this";
  SKIFF_ASSERT_OK(run_scenario(scenario, folder));
}

TEST_F(CrashTest, BeforeACommitNothingOfItIsThere) {
  crash("write", "test.crash.second:before");
  EXPECT_THAT(bodies(), ElementsAre("first"));
}

TEST_F(CrashTest, AfterACommitAllOfItIsThere) {
  crash("write", "test.crash.second:after");
  EXPECT_THAT(bodies(), ElementsAre("first", "second"));
}

TEST_F(CrashTest, WhatRidesSurvivesTheProcess) {
  crash("ride", "test.crash.second:before");
  EXPECT_THAT(bodies(), ElementsAre("first"));
}

TEST_F(CrashTest, AFlushIsACommitToo) {
  crash("ride", "metadata.flush:before");
  EXPECT_THAT(bodies(), ElementsAre("first", "second"));
}

TEST_F(CrashTest, ASweepStopsBetweenItsTransactions) {
  crash("collect", "metadata.gc.sweep:before");
  EXPECT_EQ(blob_count(), 50u);
  EXPECT_EQ(tombstone_count(), 0u);
}

TEST_F(CrashTest, ASweepLeavesATombstoneForEachRow) {
  crash("collect", "metadata.gc.sweep:after");
  EXPECT_EQ(blob_count() + tombstone_count(), 50u);
  EXPECT_GT(tombstone_count(), 0u);
  EXPECT_GT(blob_count(), 0u) << "in more than one transaction";
}

TEST_F(CrashTest, ATombstoneStaysUntilItsFilesAreGone) {
  crash("collect", "metadata.gc.bury:before");
  EXPECT_EQ(tombstone_count(), 50u);
}

TEST_F(CrashTest, ABuriedTombstoneIsGone) {
  crash("collect", "metadata.gc.bury:after:3");
  EXPECT_EQ(tombstone_count(), 47u);
}

TEST_F(CrashTest, NothingIsConfirmedBeforeItsSync) {
  for (auto point :
       {"metadata.confirm.sync:before", "metadata.confirm.sync:after", "metadata.confirm:before"}) {
    crash("confirm", point);
    EXPECT_EQ(get([](Reader& r) { return blobs::suspects(r, "boot-2"); }).size(), 1u) << point;
  }
  crash("confirm", "metadata.confirm:after");
  EXPECT_THAT(get([](Reader& r) { return blobs::suspects(r, "boot-2"); }), IsEmpty());
}

}  // namespace
}  // namespace skiff::metadata
