#include "metadata/store.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sqlite3.h>

#include <atomic>
#include <filesystem>
#include <latch>
#include <thread>

#include "metadata/fault_vfs.h"
#include "metadata/schema.h"
#include "metadata/sqlite.h"
#include "metadata/store_fixture.h"
#include "tests/lib/golden.h"

namespace skiff::metadata {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class StoreTest : public StoreFixture {
 protected:
  Status add(const std::string& body, Durability durability = Durability::kDurable) {
    return write(
        [&](Transaction& txn) -> Status {
          SKIFF_TRY(intents::put(txn, "test", body));
          return ok();
        },
        durability);
  }
  std::vector<std::string> bodies() {
    std::vector<std::string> bodies;
    for (auto& intent : get([](Reader& r) { return intents::list(r); }))
      bodies.push_back(intent.body);
    return bodies;
  }
  uintmax_t wal_size() { return std::filesystem::file_size(sys::Path(file_) += "-wal"); }
  Result<std::unique_ptr<Store>> reopen() {
    store_.reset();
    return Store::open(file_, {.boot_id = "boot-1"});
  }
};

TEST_F(StoreTest, WhatWasWrittenIsThereAfterReopening) {
  SKIFF_ASSERT_OK(add("a"));
  SKIFF_ASSERT_OK(add("b", Durability::kRides));
  EXPECT_THAT(bodies(), ElementsAre("a", "b"));
  uint64_t generation = store_->generation();
  SKIFF_ASSERT_OK(write([&](Transaction& txn) {
    EXPECT_EQ(txn.generation(), generation + 1);
    return blobs::put(txn, "a", {.digest = digest('1')}, "");
  }));
  open();
  EXPECT_THAT(bodies(), ElementsAre("a", "b"));
  EXPECT_GT(store_->generation(), generation) << "what rows carry is never given again";
}

TEST_F(StoreTest, AFailingTransactionLeavesNothingAndFailsAlone) {
  std::vector<std::jthread> threads;
  for (int i = 0; i < 16; ++i)
    threads.emplace_back([&, i] {
      for (int k = 0; k < 20; ++k) {
        Status status = write(
            [&](Transaction& txn) -> Status {
              SKIFF_TRY(intents::put(txn, "test", "x"));
              if (i % 2 == 0) return fail(Code::kAborted, "on purpose");
              return ok();
            },
            k % 3 == 0 ? Durability::kRides : Durability::kDurable);
        EXPECT_EQ(code_of(status), i % 2 == 0 ? Code::kAborted : Code::kOk);
      }
    });
  threads.clear();
  EXPECT_EQ(bodies().size(), 160u);
}

TEST_F(StoreTest, ReadersSeeWholeTransactions) {
  auto move = [](Transaction& txn) -> Status {  // one row goes, another comes
    for (auto& intent : SKIFF_TRY(intents::list(txn))) SKIFF_TRY(intents::remove(txn, intent.id));
    SKIFF_TRY(intents::put(txn, "test", "x"));
    return ok();
  };
  SKIFF_ASSERT_OK(write(move));
  std::atomic<bool> stop = false;
  std::vector<std::jthread> readers;
  for (int i = 0; i < 12; ++i)  // more than there are connections
    readers.emplace_back([&] {
      while (!stop) EXPECT_EQ(bodies().size(), 1u);
    });
  for (int i = 0; i < 300; ++i)
    EXPECT_TRUE(write(move, i % 2 == 0 ? Durability::kDurable : Durability::kRides));
  stop = true;
}

TEST_F(StoreTest, AWriteIsSeenByTheReadThatFollowsIt) {
  std::vector<std::jthread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&, i] {
      for (int k = 0; k < 50; ++k) {
        std::string name = fmt::format("ns-{}-{}", i, k);
        EXPECT_TRUE(write([&](Transaction& txn) { return namespaces::ensure(txn, name); },
                          k % 2 == 0 ? Durability::kDurable : Durability::kRides));
        EXPECT_THAT(get([](Reader& r) { return namespaces::list(r); }), ::testing::Contains(name));
      }
    });
}

TEST_F(StoreTest, AStoppedOrLateCallerWritesNothing) {
  std::stop_source stop;
  stop.request_stop();
  bool ran = false;
  auto fn = [&](Transaction&) {
    ran = true;
    return ok();
  };
  EXPECT_EQ(code_of(store_->write(context_.with_stop(stop.get_token()), kTestWrite,
                                  Durability::kRides, fn)),
            Code::kCanceled);
  EXPECT_EQ(code_of(store_->write(context_.with_timeout(std::chrono::milliseconds(-1)), kTestWrite,
                                  Durability::kDurable, fn)),
            Code::kDeadlineExceeded);
  EXPECT_FALSE(ran);
}

constexpr Sql kEndless =
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
    "SELECT count(*) FROM n";

TEST_F(StoreTest, ALongReadIsEnded) {
  auto endless = [](Reader& reader) -> Status {
    SKIFF_TRY(Statement(reader, kEndless).next());
    return ok();
  };
  Status late = store_->read(context_.with_timeout(std::chrono::milliseconds(20)), endless);
  EXPECT_EQ(code_of(late), Code::kDeadlineExceeded);
  std::stop_source stop;
  std::jthread stopper([&] { stop.request_stop(); });
  EXPECT_EQ(code_of(store_->read(context_.with_stop(stop.get_token()), endless)), Code::kCanceled);
  SKIFF_ASSERT_OK(add("a"));
  EXPECT_THAT(bodies(), ElementsAre("a")) << "the connection is as good as new";
}

TEST_F(StoreTest, ReadersWaitForTheirTurn) {
  std::latch reading(8), release(1);
  std::vector<std::jthread> readers;
  for (int i = 0; i < 8; ++i)
    readers.emplace_back([&] {
      EXPECT_TRUE(read([&](Reader&) {
        reading.count_down();
        release.wait();
        return ok();
      }));
    });
  reading.wait();
  Context hurried = context_.with_timeout(std::chrono::milliseconds(5));
  Status ninth = store_->read(hurried, [](Reader&) { return ok(); });
  EXPECT_EQ(code_of(ninth), Code::kDeadlineExceeded);
  release.count_down();
  EXPECT_TRUE(bodies().empty());
}

TEST_F(StoreTest, TheLogKeepsAStableSize) {
  std::string body(8192, 'x');
  auto churn = [&](int times) {
    for (int i = 0; i < times; ++i)
      SKIFF_ASSERT_OK(write([&](Transaction& txn) -> Status {
        for (auto& intent : SKIFF_TRY(intents::list(txn)))
          SKIFF_TRY(intents::remove(txn, intent.id));
        SKIFF_TRY(intents::put(txn, "test", body));
        return ok();
      }));
  };
  churn(1500);
  uintmax_t stable = wal_size();
  EXPECT_LT(stable, 5u << 20) << "it was written from its start again";
  // A reader pins the log: it grows, and is used again once the reader has gone.
  SKIFF_ASSERT_OK(read([&](Reader& reader) -> Status {
    SKIFF_TRY(intents::list(reader));  // takes the snapshot
    churn(1500);
    return ok();
  }));
  uintmax_t grown = wal_size();
  EXPECT_GT(grown, stable);
  churn(3000);
  EXPECT_LE(wal_size(), std::max<uintmax_t>(grown, 16 << 20));
}

TEST_F(StoreTest, TheSchemaIsTheGoldenOne) {
  std::string schema;
  SKIFF_ASSERT_OK(read([&](Reader& reader) -> Status {
    Statement rows(reader,
                   "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE "
                   "'sqlite%' ORDER BY rowid");
    while (SKIFF_TRY(rows.next())) schema += rows.string(0) + ";\n";
    return ok();
  }));
  // A change of the schema is a new migration.
  skiff::testing::expect_golden("metadata_schema.sql", schema);
}

class OpenTest : public StoreTest {
 protected:
  void raw(const char* sql) {
    store_.reset();
    auto connection = Connection::open(file_, Connection::Mode::kWriter);
    ASSERT_TRUE(connection) << connection.error().message();
    SKIFF_ASSERT_OK((*connection)->exec(sql));
  }
  void overwrite(const sys::Path& file, uint64_t offset, const std::string& bytes) {
    sys::UniqueFd fd = *sys::open_file(file, O_RDWR);
    SKIFF_ASSERT_OK(sys::pwrite_fd(fd.get(), as_bytes(bytes), offset));
  }
  void fails_with(Code code, const std::string& text) {
    auto opened = reopen();
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code(), code) << opened.error().message();
    EXPECT_THAT(opened.error().message(), HasSubstr(text));
    EXPECT_THAT(opened.error().message(), HasSubstr("metadata.db"));
  }
};

TEST_F(OpenTest, ANewerSchemaIsRefused) {
  raw(fmt::format("PRAGMA user_version={}", kSchemaVersion + 1).c_str());
  fails_with(Code::kFailedPrecondition, "use the newer skiffd");
}

TEST_F(OpenTest, AnotherProgramsDatabaseIsRefused) {
  raw("PRAGMA application_id=1");
  fails_with(Code::kFailedPrecondition, "not skiff's");
}

TEST_F(OpenTest, WhatIsNoDatabaseIsDataLoss) {
  store_.reset();
  overwrite(file_, 0, std::string(4096, 'x'));
  fails_with(Code::kDataLoss, "not a database");
}

TEST_F(OpenTest, ATruncatedDatabaseIsDataLossNotASurprise) {
  for (int i = 0; i < 200; ++i) SKIFF_ASSERT_OK(add(std::string(2000, 'x'), Durability::kRides));
  store_.reset();
  std::filesystem::resize_file(file_, 12 * 4096);
  auto opened = Store::open(file_, {});
  if (opened) {
    Status status = (*opened)->read(context_, [](Reader& reader) -> Status {
      SKIFF_TRY(intents::list(reader));
      return ok();
    });
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code(), Code::kDataLoss);
    EXPECT_THAT(status.error().message(), HasSubstr("skiff fsck"));
  } else {
    EXPECT_EQ(opened.error().code(), Code::kDataLoss);
  }
}

TEST_F(OpenTest, ADamagedLogKeepsWhatStandsBeforeTheDamage) {
  for (int i = 0; i < 50; ++i) SKIFF_ASSERT_OK(add(fmt::format("{}", i)));
  // As a crash leaves it: the files while the store is open.
  sys::Path copy = dir_.path() / "copy.db";
  sys::Path log = sys::Path(copy) += "-wal";
  std::filesystem::copy_file(file_, copy);
  std::filesystem::copy_file(sys::Path(file_) += "-wal", log);
  uintmax_t size = std::filesystem::file_size(log);
  overwrite(log, size / 2, std::string(100, '\xff'));
  auto opened = Store::open(copy, {});
  ASSERT_TRUE(opened) << opened.error().message();
  SKIFF_ASSERT_OK((*opened)->read(context_, [](Reader& reader) -> Status {
    auto found = SKIFF_TRY(intents::list(reader));
    EXPECT_GT(found.size(), 0u);
    EXPECT_LT(found.size(), 50u);
    for (size_t i = 0; i < found.size(); ++i) EXPECT_EQ(found[i].body, fmt::format("{}", i));
    return ok();
  }));
}

TEST_F(OpenTest, AFolderThatIsNotThereIsSaid) {
  auto opened = Store::open(dir_.path() / "none" / "metadata.db", {});
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code(), Code::kNotFound);
}

class FaultTest : public StoreTest {
 protected:
  // Opened on the faulty disk, which must outlive it.
  void SetUp() override {
    vfs_ = std::make_unique<FaultVfs>();
    vfs_->synced = synced_.path();
    open();
  }
  void TearDown() override {
    store_.reset();
    vfs_.reset();
  }
  // What a power loss now would leave.
  std::vector<std::string> after_power_loss() {
    sys::TempDir image;
    std::filesystem::copy(synced_.path(), image.path());
    auto opened = Store::open(image.path() / "metadata.db", {});
    EXPECT_TRUE(opened) << opened.error().message();
    std::vector<std::string> bodies;
    if (!opened) return bodies;
    EXPECT_TRUE((*opened)->read(context_, [&](Reader& reader) -> Status {
      for (auto& intent : SKIFF_TRY(intents::list(reader))) bodies.push_back(intent.body);
      return ok();
    }));
    return bodies;
  }

  sys::TempDir synced_;
  std::unique_ptr<FaultVfs> vfs_;
};

TEST_F(FaultTest, WhatIsAcknowledgedAsDurableSurvivesAPowerLoss) {
  for (int i = 0; i < 20; ++i) {
    SKIFF_ASSERT_OK(add(fmt::format("r{}", i), Durability::kRides));
    SKIFF_ASSERT_OK(add(fmt::format("d{}", i)));
    vfs_->synced.clear();
    auto left = after_power_loss();
    vfs_->synced = synced_.path();
    ASSERT_EQ(left.size(), 2u * (i + 1)) << "a durable commit takes along what rode before it";
  }
}

TEST_F(FaultTest, SoDoesItWhileTheLogIsReused) {
  std::string large(64 * 1024, 'x');
  for (int i = 0; i < 300; ++i)  // about four times round the log
    SKIFF_ASSERT_OK(write([&](Transaction& txn) -> Status {
      for (auto& intent : SKIFF_TRY(intents::list(txn))) SKIFF_TRY(intents::remove(txn, intent.id));
      SKIFF_TRY(intents::put(txn, "test", fmt::format("{}{}", i, large)));
      return ok();
    }));
  SKIFF_ASSERT_OK(store_->flush(context_));
  vfs_->synced.clear();
  auto left = after_power_loss();
  ASSERT_EQ(left.size(), 1u);
  EXPECT_TRUE(left[0].starts_with("299x"));
}

TEST_F(FaultTest, WhatRidesIsOnDiskWithinASecondOrSoByItself) {
  SKIFF_ASSERT_OK(store_->flush(context_));
  int before = vfs_->syncs;
  SKIFF_ASSERT_OK(add("r", Durability::kRides));
  EXPECT_EQ(vfs_->syncs, before) << "not at once";
  auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (vfs_->syncs == before && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_GT(vfs_->syncs, before);
}

TEST_F(FaultTest, AFullDiskFailsTheGroupAndTheWriterGoesOn) {
  SKIFF_ASSERT_OK(add("before"));
  vfs_->write_error = SQLITE_FULL;
  for (auto durability : {Durability::kDurable, Durability::kRides}) {
    Status status = add("lost", durability);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code(), Code::kResourceExhausted) << status.error().message();
  }
  EXPECT_FALSE(store_->failed());
  EXPECT_THAT(bodies(), ElementsAre("before"));
  vfs_->write_error = 0;
  SKIFF_ASSERT_OK(add("after"));
  EXPECT_THAT(bodies(), ElementsAre("before", "after"));
}

TEST_F(FaultTest, SoDoesOneInTheMiddleOfALargeTransaction) {
  vfs_->write_error = SQLITE_FULL;
  // More than the cache holds: pages are written before the commit.
  Status status = write([](Transaction& txn) -> Status {
    for (int i = 0; i < 400; ++i) SKIFF_TRY(intents::put(txn, "test", std::string(16384, 'x')));
    return ok();
  });
  EXPECT_EQ(code_of(status), Code::kResourceExhausted);
  vfs_->write_error = 0;
  EXPECT_FALSE(store_->failed());
  SKIFF_ASSERT_OK(add("after"));
  EXPECT_THAT(bodies(), ElementsAre("after"));
}

TEST_F(FaultTest, AnIoErrorStopsTheWriterAndReadersGoOn) {
  SKIFF_ASSERT_OK(add("before"));
  vfs_->write_error = SQLITE_IOERR_WRITE;
  EXPECT_EQ(code_of(add("lost")), Code::kDataLoss);
  EXPECT_TRUE(store_->failed());
  vfs_->write_error = 0;
  EXPECT_EQ(code_of(add("later")), Code::kUnavailable);
  EXPECT_THAT(bodies(), ElementsAre("before"));
}

TEST_F(FaultTest, AFailedSyncFailsTheDurableOfAGroupAndNotWhatRides) {
  std::latch busy(1), release(1);
  std::jthread first([&] {  // keeps the writer busy, so that the others make one group
    EXPECT_TRUE(write([&](Transaction&) {
      busy.count_down();
      release.wait();
      return ok();
    }));
  });
  busy.wait();
  vfs_->sync_error = SQLITE_IOERR_FSYNC;
  std::atomic<int> queued = 0, rode = 0, lost = 0;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&, i] {
      queued++;
      Status status = add("x", i % 2 == 0 ? Durability::kRides : Durability::kDurable);
      if (status) rode++;
      if (code_of(status) == Code::kDataLoss) lost++;
    });
  while (queued < 8) std::this_thread::yield();  // most are in the group then
  release.count_down();
  threads.clear();
  EXPECT_LE(rode, 4);
  EXPECT_GT(lost, 0);
  vfs_->sync_error = 0;
  EXPECT_TRUE(store_->failed());
}

TEST_F(FaultTest, AFailedSyncIsNeverTakenForDurable) {
  SKIFF_ASSERT_OK(add("before"));
  vfs_->sync_error = SQLITE_IOERR_FSYNC;
  Status status = add("unsure");
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), Code::kDataLoss) << status.error().message();
  vfs_->sync_error = 0;
  EXPECT_TRUE(store_->failed()) << "the next sync would succeed and mean nothing";
  EXPECT_EQ(code_of(store_->flush(context_)), Code::kUnavailable);
}

}  // namespace
}  // namespace skiff::metadata
