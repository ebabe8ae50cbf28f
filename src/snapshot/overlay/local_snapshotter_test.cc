// LocalSnapshotter and its overlay driver: what the suite of all snapshotters does not show.
#include "snapshot/local_snapshotter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

#include "metadata/gc.h"
#include "snapshot/intent.h"
#include "snapshot/overlay/overlay_driver.h"
#include "sys/mount.h"

namespace skiff::snapshot {
namespace {

using metadata::Durability;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

const CrashPoint kTest{"snapshot.test"};

class LocalSnapshotterTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    ASSERT_EQ(unshare(CLONE_NEWNS), 0) << "these tests need root";
    ASSERT_TRUE(sys::make_private("/"));
  }
  void SetUp() override { open("boot-1"); }

  void open(const std::string& boot) {
    snapshotter_.reset();
    metadata_.reset();
    metadata_ = *metadata::Store::open(root_ / "metadata.db", {.boot_id = boot});
    auto driver = *OverlayDriver::open(root_);
    driver_ = driver.get();
    snapshotter_ = *LocalSnapshotter::open(*metadata_, std::move(driver), {root_});
  }
  // A layer whose writer is its folder, as the overlay form of apply does it.
  int64_t layer(const std::string& name, const std::string& parent,
                const CommitOptions& given = {}) {
    EXPECT_TRUE(snapshotter_->prepare(context_, "writer", "", {}));
    int64_t id = snapshotter_->stat(context_, "writer")->id;
    EXPECT_TRUE(sys::write_file(snapshotter_->layer_folder(id) / ("in-" + name), name));
    CommitOptions options = given;
    options.parent = parent;
    Status status = snapshotter_->commit(context_, name, "writer", options);
    EXPECT_TRUE(status) << status.error().message();
    return id;
  }
  sys::Path folder(int64_t id) { return root_ / "snapshots/overlay" / std::to_string(id); }
  std::vector<std::string> fsck() {
    std::vector<std::string> kinds;
    auto findings = snapshotter_->fsck(context_);
    EXPECT_TRUE(findings);
    for (const Finding& finding : *findings) kinds.push_back(finding.kind);
    return kinds;
  }
  Status sweep() {
    return metadata::sweep_tombstones(context_, *metadata_, [&](auto& kind, auto& path) {
      return snapshotter_->remove_files(context_, kind, path);
    });
  }

  sys::TempDir temp_;
  sys::Path root_ = temp_.path();
  Context context_;
  std::unique_ptr<metadata::Store> metadata_;
  OverlayDriver* driver_ = nullptr;
  std::unique_ptr<LocalSnapshotter> snapshotter_;
};

TEST_F(LocalSnapshotterTest, MountsAreWhatTheChainNeeds) {
  auto one = snapshotter_->prepare(context_, "first", "", {});
  ASSERT_EQ(one->size(), 1u);
  EXPECT_EQ(one->front(), (Mount{"bind", folder(1) / "fs", "", {"rw", "rbind"}}));
  ASSERT_TRUE(snapshotter_->commit(context_, "base", "first", {}));
  EXPECT_EQ(snapshotter_->view(context_, "v1", "base", {})->front(),
            (Mount{"bind", folder(1) / "fs", "", {"ro", "rbind"}}));
  int64_t top = layer("top", "base");
  auto stacked = snapshotter_->prepare(context_, "a", "top", {});
  int64_t id = snapshotter_->stat(context_, "a")->id;
  ASSERT_EQ(stacked->front().type, "overlay");
  std::vector<std::string> options = driver_->options();
  options.push_back("workdir=" + (folder(id) / "work").string());
  options.push_back("upperdir=" + (folder(id) / "fs").string());
  options.push_back(fmt::format("lowerdir={}/fs:{}/fs", folder(top).string(), folder(1).string()));
  EXPECT_EQ(stacked->front().options, options);
  auto folders = layer_folders(*stacked);
  EXPECT_EQ(folders->upper, folder(id) / "fs");
  EXPECT_THAT(folders->lowers, ElementsAre(folder(top) / "fs", folder(1) / "fs"));
  auto view = snapshotter_->view(context_, "v2", "top", {});
  EXPECT_EQ(layer_folders(*view)->upper, "");
}

TEST_F(LocalSnapshotterTest, AHundredAndTwentySevenLayersMount) {
  std::string parent;
  for (int i = 0; i < 127; ++i) {
    std::string name = fmt::format("layer-{}", i);
    layer(name, parent, {.durability = Durability::kRides});
    parent = name;
  }
  auto mounts = snapshotter_->prepare(context_, "container", parent, {});
  ASSERT_TRUE(mounts);
  sys::Path target = root_ / "mounted";
  ASSERT_TRUE(sys::make_dir(target));
  Status status = sys::mount_all(*mounts, target);
  ASSERT_TRUE(status) << status.error().message();
  sys::MountGuard guard(target);
  EXPECT_EQ(sys::list_dir(target)->size(), 127u);
  EXPECT_TRUE(sys::write_file(target / "in-layer-0", "changed"));
}

TEST_F(LocalSnapshotterTest, AnUnusableRootIsRefused) {
  auto driver = OverlayDriver::open(root_ / "a:b");
  EXPECT_TRUE(driver.error().is(Code::kInvalidArgument));
  // An overlay cannot hold an overlay's upper folder.
  sys::Path merged = root_ / "merged";
  for (const char* name : {"lower", "upper", "work", "merged"})
    ASSERT_TRUE(sys::make_dir(root_ / name));
  ASSERT_TRUE(sys::mount("overlay", "overlay",
                         {fmt::format("lowerdir={}", (root_ / "lower").string()),
                          fmt::format("upperdir={}", (root_ / "upper").string()),
                          fmt::format("workdir={}", (root_ / "work").string())},
                         merged));
  sys::MountGuard guard(merged);
  driver = OverlayDriver::open(merged);
  ASSERT_FALSE(driver);
  EXPECT_TRUE(driver.error().is(Code::kUnimplemented));
  EXPECT_THAT(driver.error().message(), HasSubstr("native"));
}

TEST_F(LocalSnapshotterTest, ACommitTakesTheCallersCount) {
  layer("counted", "", {.usage = Usage{12345, 6}});
  EXPECT_EQ(snapshotter_->usage(context_, "counted")->bytes, 12345u);
  EXPECT_EQ(snapshotter_->usage(context_, "counted")->inodes, 6u);
}

TEST_F(LocalSnapshotterTest, ACommittedLayerHasNoWorkFolder) {
  int64_t id = layer("base", "");
  EXPECT_THAT(*sys::list_dir(folder(id)), ElementsAre("fs"));
}

TEST_F(LocalSnapshotterTest, FoldersGoWithTheSweep) {
  int64_t id = layer("base", "");
  ASSERT_TRUE(snapshotter_->remove(context_, "base"));
  EXPECT_TRUE(sys::path_exists(folder(id)));
  EXPECT_THAT(fsck(), IsEmpty()) << "a tombstone stands for it";
  ASSERT_TRUE(sweep());
  EXPECT_FALSE(sys::path_exists(folder(id)));
  EXPECT_FALSE(snapshotter_->remove_files(context_, "snapshot", "native/1"));
  EXPECT_FALSE(snapshotter_->remove_files(context_, "snapshot", "overlay/../../metadata.db"));
  EXPECT_FALSE(snapshotter_->remove_files(context_, "blob", "overlay/1"));
}

TEST_F(LocalSnapshotterTest, FsckFindsSeededDamage) {
  int64_t base = layer("base", "");
  ASSERT_TRUE(snapshotter_->prepare(context_, "active", "base", {}));
  int64_t active = snapshotter_->stat(context_, "active")->id;
  EXPECT_THAT(fsck(), IsEmpty());
  ASSERT_TRUE(sys::remove_tree(folder(active) / "work"));
  EXPECT_THAT(fsck(), ElementsAre("layer-incomplete"));
  ASSERT_TRUE(sys::make_dir(folder(active) / "work"));
  ASSERT_TRUE(sys::make_dir(folder(999)));
  EXPECT_THAT(fsck(), ElementsAre("layer-orphan"));
  ASSERT_TRUE(sys::remove_tree(folder(999)));
  ASSERT_TRUE(sys::make_dir(root_ / "snapshots/overlay/007"));
  EXPECT_THAT(fsck(), ElementsAre("snapshot-stray"));
  ASSERT_TRUE(sys::remove_tree(root_ / "snapshots/overlay/007"));
  ASSERT_TRUE(sys::remove_tree(folder(base) / "fs"));
  EXPECT_THAT(fsck(), ElementsAre("layer-incomplete"));
  ASSERT_TRUE(sys::remove_tree(folder(base)));
  EXPECT_THAT(fsck(), ElementsAre("layer-missing"));
}

TEST_F(LocalSnapshotterTest, RecoverPutsRightWhatACrashLeft) {
  layer("base", "");
  ASSERT_TRUE(snapshotter_->prepare(context_, "kept", "base", {}));
  ASSERT_TRUE(snapshotter_->prepare(context_, "lost", "base", {}));
  int64_t lost = snapshotter_->stat(context_, "lost")->id;
  ASSERT_TRUE(sys::remove_tree(folder(lost)));
  ASSERT_TRUE(sys::make_dirs(folder(500) / "fs/half"));
  ASSERT_TRUE(metadata_->write(context_, kTest, Durability::kRides, [](auto& txn) -> Status {
    SKIFF_TRY(metadata::intents::put(txn, kPrepareIntent, intent_body({"overlay", 500})));
    SKIFF_TRY(metadata::intents::put(txn, kPrepareIntent, intent_body({"another", 1})));
    return ok();
  }));
  ASSERT_TRUE(sys::make_dirs(folder(600) / "fs"));
  auto recovery = snapshotter_->recover(context_);
  ASSERT_TRUE(recovery) << recovery.error().message();
  EXPECT_EQ(recovery->intents_undone, 1u);
  EXPECT_EQ(recovery->folders_removed, 1u);
  EXPECT_EQ(recovery->folders_remade, 1u);
  EXPECT_THAT(fsck(), IsEmpty());
  EXPECT_TRUE(snapshotter_->mounts(context_, "lost"));
}

TEST_F(LocalSnapshotterTest, UnconfirmedLayersOfAnotherBootWaitUntilTheyAreMadeAnew) {
  int64_t base = layer("base", "", {.durability = Durability::kRides});
  layer("top", "base", {.durability = Durability::kDurable});
  ASSERT_TRUE(snapshotter_->prepare(context_, "container", "top", {}));
  open("boot-1");
  EXPECT_THAT(snapshotter_->recover(context_)->suspects, IsEmpty()) << "the same boot";
  open("boot-2");
  auto recovery = snapshotter_->recover(context_);
  ASSERT_EQ(recovery->suspects.size(), 1u);
  EXPECT_EQ(recovery->suspects[0].id, base);
  for (const auto& refused : {snapshotter_->mounts(context_, "container"),
                              snapshotter_->prepare(context_, "x", "top", {}),
                              snapshotter_->view(context_, "y", "base", {})})
    EXPECT_TRUE(refused.error().is(Code::kUnavailable));
  EXPECT_THAT(fsck(), IsEmpty()) << "a refused prepare leaves nothing";
  ASSERT_TRUE(metadata_->write(context_, kTest, Durability::kRides, [&](auto& txn) {
    return metadata::snapshots::rewritten(txn, base, "boot-2");
  }));
  EXPECT_TRUE(snapshotter_->mounts(context_, "container"));
  EXPECT_TRUE(snapshotter_->prepare(context_, "x", "top", {}));
}

TEST_F(LocalSnapshotterTest, APrepareThatFailsLeavesNothing) {
  Labels too_long = {{"key", std::string(5000, 'x')}};
  EXPECT_TRUE(
      snapshotter_->prepare(context_, "a", "", too_long).error().is(Code::kInvalidArgument));
  EXPECT_THAT(*sys::list_dir(root_ / "snapshots/overlay"), IsEmpty());
  EXPECT_THAT(fsck(), IsEmpty());
}

TEST(IntentTest, BodiesAndNamesAreRead) {
  auto intent = parse_intent(intent_body({"overlay", 12}));
  ASSERT_TRUE(intent);
  EXPECT_EQ(intent->snapshotter, "overlay");
  EXPECT_EQ(intent->id, 12);
  EXPECT_FALSE(parse_intent("{}"));
  EXPECT_FALSE(parse_intent("not json"));
  EXPECT_EQ(parse_id("12"), 12);
  for (const char* bad : {"", "0", "012", "-1", "1x", "x", "99999999999999999999"})
    EXPECT_FALSE(parse_id(bad)) << bad;
  EXPECT_EQ(tombstone_id("overlay", "snapshot", "overlay/3"), 3);
  EXPECT_FALSE(tombstone_id("over", "snapshot", "overlay/3"));
}

TEST(LayerFoldersTest, RefusesWhatIsNoLocalRoot) {
  EXPECT_FALSE(layer_folders({}));
  EXPECT_FALSE(layer_folders({{"fuse.stargz", "x", "", {}}}));
  EXPECT_FALSE(layer_folders({{"bind", "/a", "/sub", {}}}));
  EXPECT_THAT(layer_folders({{"bind", "/a", "", {"ro"}}})->lowers, ElementsAre("/a"));
}

}  // namespace
}  // namespace skiff::snapshot
