#include "metadata/check.h"

#include <fcntl.h>
#include <gmock/gmock.h>

#include "metadata/sqlite.h"
#include "metadata/store_fixture.h"

namespace skiff::metadata {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class CheckTest : public StoreFixture {
 protected:
  // A store with one of everything, all of it well.
  void SetUp() override {
    StoreFixture::SetUp();
    SKIFF_ASSERT_OK(write([](Transaction& txn) -> Status {
      SKIFF_TRY(blobs::put(txn, "a", {.digest = digest('1'), .size = 1}, ""));
      SKIFF_TRY(images::put(
          txn, "a", {.name = "i", .target = "{}", .digest = digest('1'), .labels = {{"x", "y"}}}));
      SKIFF_TRY(leases::create(txn, "a", {.id = "l"}));
      for (std::string name : {"base", "top"}) {
        std::string parent = name == "top" ? "base" : "";
        SKIFF_TRY(snapshots::create(
            txn, "a", {.snapshotter = "overlayfs", .key = "w", .parent = parent}, "l"));
        SKIFF_TRY(snapshots::commit(txn, "a", "overlayfs", "w", {.name = name}, "l"));
      }
      return containers::create(txn, "a",
                                {.id = "c", .snapshotter = "overlayfs", .snapshot_key = "top"});
    }));
  }
  // Seeds damage that no row function would make.
  void damage(const char* sql) {
    SKIFF_ASSERT_OK(write([&](Transaction& txn) {
      return txn.connection().exec(fmt::format("PRAGMA defer_foreign_keys=ON; {}", sql).c_str());
    }));
  }
  std::vector<std::string> kinds(Result<std::vector<Finding>> findings) {
    EXPECT_TRUE(findings) << findings.error().message();
    std::vector<std::string> kinds;
    if (!findings) return kinds;
    for (const Finding& finding : *findings) kinds.push_back(finding.kind);
    return kinds;
  }
  std::vector<std::string> check_kinds() { return kinds(check(context_, *store_)); }
  std::vector<std::string> repair_kinds() { return kinds(repair(context_, *store_)); }
};

TEST_F(CheckTest, AStoreInUseIsClean) { EXPECT_THAT(check_kinds(), IsEmpty()); }

TEST_F(CheckTest, RepairableDamageIsFoundAndRepaired) {
  struct Case {
    const char* kind;
    const char* damage;
  };
  for (auto [kind, sql] : {
           Case{"edge-orphan", "INSERT INTO refs VALUES ('a','images','gone','content','x',1)"},
           Case{"edge-orphan",
                "INSERT INTO refs VALUES ('a','snapshots/overlayfs','gone','content','x',0)"},
           Case{"edge-missing", "DELETE FROM refs WHERE from_type = 'images'"},
           Case{"edge-missing", "DELETE FROM refs WHERE from_type = 'containers'"},
           Case{"edge-missing", "DELETE FROM refs WHERE from_type = 'snapshots/overlayfs'"},
           Case{"blob-unnamed",
                "INSERT INTO blobs VALUES ('sha256:' || printf('%064d', 0), 1, 1, 1, '')"},
           Case{
               "snapshot-unnamed",
               "INSERT INTO snapshots VALUES (99, 'overlayfs', NULL, 3, NULL, 1, 1, '', 0, 0, '')"},
           Case{"tombstone-live",
                "INSERT INTO tombstones (kind, path) SELECT 'blob', 'content/blobs/' || "
                "replace(digest, ':', '/') FROM blobs"},
           Case{"tombstone-live",
                "INSERT INTO tombstones (kind, path) VALUES ('snapshot', 'overlayfs/1')"},
           Case{"lease-expired", "INSERT INTO leases VALUES ('a', 'old', '{}', 1, 1, 0, 1)"},
       }) {
    damage(sql);
    auto findings = check(context_, *store_);
    ASSERT_TRUE(findings) << findings.error().message();
    ASSERT_EQ(findings->size(), 1u) << sql;
    EXPECT_EQ(findings->front().kind, kind);
    EXPECT_TRUE(findings->front().repairable) << kind;
    EXPECT_THAT(repair_kinds(), IsEmpty()) << sql;
  }
  // What was repaired away leaves tombstones for its files.
  EXPECT_EQ(get([](Reader& r) { return tombstones::list(r); }).size(), 2u);
}

TEST_F(CheckTest, OtherDamageIsFoundAndStays) {
  damage("UPDATE images SET labels = '{\"x'");
  EXPECT_THAT(check_kinds(), ElementsAre("row-unreadable"));
  damage("UPDATE images SET labels = '{}', digest = 'sha256:x'");
  EXPECT_THAT(check_kinds(), ElementsAre("row-unreadable", "edge-missing", "image-incomplete"));
  EXPECT_EQ(code([](Reader& r) { return images::list(r, "a", {}); }), Code::kDataLoss);
  damage("UPDATE images SET digest = (SELECT digest FROM blobs)");
  damage("DELETE FROM blob_names; DELETE FROM blobs");
  EXPECT_THAT(repair_kinds(), ElementsAre("image-incomplete"));
  damage("DELETE FROM images; DELETE FROM refs WHERE from_type = 'images'");
  damage("UPDATE snapshots SET kind = 2 WHERE id = 1");
  EXPECT_THAT(repair_kinds(), ElementsAre("snapshot-parent"));
  damage("UPDATE snapshots SET kind = 3");
  damage("DELETE FROM snapshot_names WHERE key = 'base'");
  EXPECT_THAT(check_kinds(), ElementsAre("snapshot-unnamed", "snapshot-parent"));
}

TEST_F(CheckTest, ForeignKeysAreChecked) {
  store_.reset();
  {
    auto raw = Connection::open(file_, Connection::Mode::kWriter);
    ASSERT_TRUE(raw);
    SKIFF_ASSERT_OK((*raw)->exec("PRAGMA foreign_keys=OFF; DELETE FROM namespaces"));
  }
  open();
  auto found = check_kinds();
  ASSERT_FALSE(found.empty());
  EXPECT_THAT(found, testing::Each("row-dangling"));
}

TEST_F(CheckTest, DamagedPagesAreAFinding) {
  // Enough rows for many pages, then garbage over the middle of the file.
  SKIFF_ASSERT_OK(write([](Transaction& txn) -> Status {
    for (int i = 0; i < 2000; ++i) SKIFF_TRY(intents::put(txn, "test", std::string(200, 'x')));
    return ok();
  }));
  store_.reset();
  {
    sys::UniqueFd fd = *sys::open_file(file_, O_RDWR);
    std::string garbage(16 * 4096, '\xa5');
    SKIFF_ASSERT_OK(sys::pwrite_fd(fd.get(), as_bytes(garbage), 40 * 4096));
  }
  open();
  EXPECT_THAT(check_kinds(), testing::Contains("database-damaged"));
}

}  // namespace
}  // namespace skiff::metadata
