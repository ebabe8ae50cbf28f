#include "tests/suites/snapshotter_suite.h"

#include <atomic>
#include <mutex>
#include <thread>

#include <gmock/gmock.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/mount.h"

namespace skiff::snapshot {

using sys::Path;
using sys::path_exists;
using sys::read_file;
using sys::write_file;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Key;
using testing::Not;
using testing::Pair;
using testing::UnorderedElementsAre;

namespace {

Code code_of(const auto& result) { return result ? Code::kOk : result.error().code(); }

void nothing(const Path&) {}

}  // namespace

void SnapshotterSuite::SetUpTestSuite() {
  static std::once_flag once;
  std::call_once(once, [] {
    ASSERT_EQ(unshare(CLONE_NEWNS), 0) << "this suite needs root";
    ASSERT_TRUE(sys::make_private("/"));
  });
}

void SnapshotterSuite::with_mounted(const Result<std::vector<Mount>>& mounts,
                                    const std::function<void(const Path& root)>& work) {
  ASSERT_TRUE(mounts) << mounts.error().message();
  sys::TempDir root("skiff-root-");
  Status status = sys::mount_all(*mounts, root.path());
  ASSERT_TRUE(status) << status.error().message();
  sys::MountGuard guard(root.path());
  work(root.path());
  ASSERT_TRUE(guard.reset());
}

void SnapshotterSuite::layer(const std::string& name, const std::string& parent,
                             const std::function<void(const Path& root)>& work,
                             const CommitOptions& options) {
  with_mounted(snapshotter().prepare(context_, name + "-writer", parent, {}), work);
  Status status = snapshotter().commit(context_, name, name + "-writer", options);
  ASSERT_TRUE(status) << status.error().message();
}

TEST_P(SnapshotterSuite, LayersStack) {
  layer("base", "", [](const Path& root) {
    EXPECT_TRUE(write_file(root / "kept", "base"));
    EXPECT_TRUE(write_file(root / "changed", "base"));
    EXPECT_TRUE(write_file(root / "deleted", "base"));
    EXPECT_TRUE(sys::make_dirs(root / "dir/sub"));
  });
  layer("top", "base", [](const Path& root) {
    EXPECT_EQ(read_file(root / "kept").value(), "base");
    EXPECT_TRUE(write_file(root / "changed", "top"));
    EXPECT_TRUE(sys::remove_file(root / "deleted"));
    EXPECT_TRUE(sys::remove_tree(root / "dir"));
    EXPECT_TRUE(write_file(root / "added", "top"));
  });
  auto check = [](const Path& root) {
    EXPECT_EQ(read_file(root / "kept").value(), "base");
    EXPECT_EQ(read_file(root / "changed").value(), "top");
    EXPECT_EQ(read_file(root / "added").value(), "top");
    EXPECT_FALSE(path_exists(root / "deleted"));
    EXPECT_FALSE(path_exists(root / "dir"));
  };
  with_mounted(snapshotter().view(context_, "view", "top", {}), check);
  with_mounted(snapshotter().prepare(context_, "active", "top", {}), check);
  with_mounted(snapshotter().view(context_, "base-view", "base", {}), [](const Path& root) {
    EXPECT_EQ(read_file(root / "changed").value(), "base");
    EXPECT_TRUE(path_exists(root / "dir/sub"));
  });
}

TEST_P(SnapshotterSuite, SiblingsDoNotSeeEachOther) {
  layer("base", "", nothing);
  with_mounted(snapshotter().prepare(context_, "a", "base", {}),
               [](const Path& root) { EXPECT_TRUE(write_file(root / "a", "")); });
  with_mounted(snapshotter().prepare(context_, "b", "base", {}),
               [](const Path& root) { EXPECT_FALSE(path_exists(root / "a")); });
  with_mounted(snapshotter().mounts(context_, "a"),
               [](const Path& root) { EXPECT_TRUE(path_exists(root / "a")); });
}

TEST_P(SnapshotterSuite, ViewsAreReadOnly) {
  auto refuses = [](const Path& root) {
    Status status = write_file(root / "x", "");
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().sys_errno(), EROFS);
  };
  layer("one", "", nothing);
  layer("two", "one", nothing);
  with_mounted(snapshotter().view(context_, "v0", "", {}), refuses);
  with_mounted(snapshotter().view(context_, "v1", "one", {}), refuses);
  with_mounted(snapshotter().view(context_, "v2", "two", {}), refuses);
  EXPECT_EQ(code_of(snapshotter().commit(context_, "c", "v1", {})), Code::kFailedPrecondition);
}

TEST_P(SnapshotterSuite, TheTopFolderKeepsItsOwnerAndMode) {
  layer("base", "", [](const Path& root) {
    EXPECT_EQ(chown(root.c_str(), 1001, 1002), 0);
    EXPECT_EQ(chmod(root.c_str(), 0751), 0);
  });
  auto check = [](const Path& root) {
    auto st = sys::stat_path(root);
    EXPECT_EQ(st->st_uid, 1001u);
    EXPECT_EQ(st->st_gid, 1002u);
    EXPECT_EQ(st->st_mode & 07777, 0751u);
  };
  with_mounted(snapshotter().prepare(context_, "a", "base", {}), check);
  with_mounted(snapshotter().view(context_, "v", "base", {}), check);
}

TEST_P(SnapshotterSuite, StatTellsKindParentAndLabels) {
  Labels labels = {{"containerd.io/snapshot/note", "n"}, {"own", "1"}};
  ASSERT_TRUE(snapshotter().prepare(context_, "writer", "", labels));
  auto info = snapshotter().stat(context_, "writer");
  ASSERT_TRUE(info);
  EXPECT_EQ(info->key, "writer");
  EXPECT_EQ(info->kind, Kind::kActive);
  EXPECT_EQ(info->parent, "");
  EXPECT_EQ(info->labels, labels);
  EXPECT_GT(info->created, 0);
  ASSERT_TRUE(snapshotter().commit(context_, "base", "writer", {.labels = {{"own", "2"}}}));
  EXPECT_EQ(code_of(snapshotter().stat(context_, "writer")), Code::kNotFound);
  info = snapshotter().stat(context_, "base");
  ASSERT_TRUE(info);
  EXPECT_EQ(info->kind, Kind::kCommitted);
  EXPECT_THAT(info->labels, ElementsAre(Pair("own", "2")));
  ASSERT_TRUE(snapshotter().view(context_, "view", "base", {}));
  info = snapshotter().stat(context_, "view");
  EXPECT_EQ(info->kind, Kind::kView);
  EXPECT_EQ(info->parent, "base");
}

TEST_P(SnapshotterSuite, WhatIsNotThere) {
  EXPECT_EQ(code_of(snapshotter().stat(context_, "x")), Code::kNotFound);
  EXPECT_EQ(code_of(snapshotter().mounts(context_, "x")), Code::kNotFound);
  EXPECT_EQ(code_of(snapshotter().usage(context_, "x")), Code::kNotFound);
  EXPECT_EQ(code_of(snapshotter().update(context_, "x", {}, {})), Code::kNotFound);
  EXPECT_EQ(code_of(snapshotter().commit(context_, "y", "x", {})), Code::kNotFound);
  EXPECT_EQ(code_of(snapshotter().remove(context_, "x")), Code::kNotFound);
  EXPECT_EQ(code_of(snapshotter().prepare(context_, "y", "x", {})), Code::kNotFound);
  EXPECT_EQ(code_of(snapshotter().prepare(context_, "", "", {})), Code::kInvalidArgument);
  EXPECT_EQ(code_of(snapshotter().stat(context_, "y")), Code::kNotFound);
}

TEST_P(SnapshotterSuite, NamesAreTakenOnce) {
  layer("base", "", nothing);
  ASSERT_TRUE(snapshotter().prepare(context_, "a", "base", {}));
  EXPECT_EQ(code_of(snapshotter().prepare(context_, "a", "", {})), Code::kAlreadyExists);
  EXPECT_EQ(code_of(snapshotter().view(context_, "a", "base", {})), Code::kAlreadyExists);
  EXPECT_EQ(code_of(snapshotter().prepare(context_, "base", "", {})), Code::kAlreadyExists);
  EXPECT_EQ(code_of(snapshotter().commit(context_, "base", "a", {})), Code::kAlreadyExists);
  EXPECT_TRUE(snapshotter().mounts(context_, "a")) << "a commit that failed leaves it active";
}

TEST_P(SnapshotterSuite, OnlyCommittedOnesAreParents) {
  ASSERT_TRUE(snapshotter().prepare(context_, "a", "", {}));
  EXPECT_EQ(code_of(snapshotter().prepare(context_, "b", "a", {})), Code::kInvalidArgument);
  ASSERT_TRUE(snapshotter().commit(context_, "c", "a", {}));
  EXPECT_EQ(code_of(snapshotter().mounts(context_, "c")), Code::kFailedPrecondition);
  EXPECT_EQ(code_of(snapshotter().commit(context_, "d", "c", {})), Code::kFailedPrecondition);
}

TEST_P(SnapshotterSuite, ParentsOutliveTheirChildren) {
  layer("base", "", nothing);
  ASSERT_TRUE(snapshotter().prepare(context_, "child", "base", {}));
  EXPECT_EQ(code_of(snapshotter().remove(context_, "base")), Code::kFailedPrecondition);
  ASSERT_TRUE(snapshotter().remove(context_, "child"));
  EXPECT_EQ(code_of(snapshotter().stat(context_, "child")), Code::kNotFound);
  ASSERT_TRUE(snapshotter().remove(context_, "base"));
  EXPECT_EQ(code_of(snapshotter().stat(context_, "base")), Code::kNotFound);
  layer("base", "", [](const Path& root) { EXPECT_FALSE(path_exists(root / "x")); });
}

TEST_P(SnapshotterSuite, NamespacesKeepNamesApart) {
  layer("base", "", [](const Path& root) { EXPECT_TRUE(write_file(root / "mine", "")); });
  EXPECT_EQ(code_of(snapshotter().stat(other_, "base")), Code::kNotFound);
  EXPECT_EQ(code_of(snapshotter().prepare(other_, "x", "base", {})), Code::kNotFound);
  with_mounted(snapshotter().prepare(other_, "writer", "", {}),
               [](const Path& root) { EXPECT_TRUE(write_file(root / "theirs", "")); });
  ASSERT_TRUE(snapshotter().commit(other_, "base", "writer", {}));
  with_mounted(snapshotter().view(other_, "v", "base", {}), [](const Path& root) {
    EXPECT_TRUE(path_exists(root / "theirs"));
    EXPECT_FALSE(path_exists(root / "mine"));
  });
  ASSERT_TRUE(snapshotter().remove(other_, "v"));
  ASSERT_TRUE(snapshotter().remove(other_, "base"));
  EXPECT_TRUE(snapshotter().stat(context_, "base"));
}

TEST_P(SnapshotterSuite, UsageCountsTheLayer) {
  ASSERT_TRUE(snapshotter().prepare(context_, "a", "", {}));
  with_mounted(snapshotter().mounts(context_, "a"), [](const Path& root) {
    EXPECT_TRUE(write_file(root / "big", std::string(1 << 20, 'x')));
  });
  auto usage = snapshotter().usage(context_, "a");
  ASSERT_TRUE(usage);
  EXPECT_GE(usage->bytes, 1u << 20);
  EXPECT_LT(usage->bytes, 2u << 20);
  EXPECT_GE(usage->inodes, 2u);
  ASSERT_TRUE(snapshotter().commit(context_, "c", "a", {}));
  EXPECT_GE(snapshotter().usage(context_, "c")->bytes, 1u << 20);
}

TEST_P(SnapshotterSuite, UpdateFollowsFieldPaths) {
  layer("base", "", nothing, {.labels = {{"a", "1"}, {"b", "2"}}});
  auto info = snapshotter().update(context_, "base", {{"b", "3"}}, {"labels.b"});
  ASSERT_TRUE(info) << info.error().message();
  EXPECT_THAT(info->labels, ElementsAre(Pair("a", "1"), Pair("b", "3")));
  info = snapshotter().update(context_, "base", {{"z", "9"}}, {"labels"});
  EXPECT_THAT(info->labels, ElementsAre(Pair("z", "9")));
  EXPECT_EQ(code_of(snapshotter().update(context_, "base", {}, {"kind"})), Code::kInvalidArgument);
}

TEST_P(SnapshotterSuite, WalkFilters) {
  layer("base", "", nothing, {.labels = {{"x", "1"}}});
  layer("top", "base", nothing);
  ASSERT_TRUE(snapshotter().prepare(context_, "active", "top", {{"x", "2"}}));
  ASSERT_TRUE(snapshotter().prepare(other_, "foreign", "", {}));
  auto walk = [&](const std::vector<std::string>& filters) {
    std::vector<std::string> keys;
    Status status = snapshotter().walk(context_, filters, [&](const SnapshotInfo& info) {
      keys.push_back(info.key);
      return ok();
    });
    EXPECT_TRUE(status) << status.error().message();
    return keys;
  };
  EXPECT_THAT(walk({}), UnorderedElementsAre("base", "top", "active"));
  EXPECT_THAT(walk({"kind==active"}), ElementsAre("active"));
  EXPECT_THAT(walk({"parent==base"}), ElementsAre("top"));
  EXPECT_THAT(walk({"labels.x"}), UnorderedElementsAre("base", "active"));
  EXPECT_THAT(walk({"name==top", "labels.x==1"}), UnorderedElementsAre("base", "top"));
  EXPECT_EQ(code_of(snapshotter().walk(context_, {"x=="}, [](auto&) { return ok(); })),
            Code::kInvalidArgument);
}

TEST_P(SnapshotterSuite, AnExistingTargetIsSaidSo) {
  layer("sha256:chain", "", nothing);
  Labels labels = {{kTargetLabel, "sha256:chain"}};
  EXPECT_EQ(code_of(snapshotter().prepare(context_, "w", "", labels)), Code::kAlreadyExists);
  EXPECT_EQ(code_of(snapshotter().stat(context_, "w")), Code::kNotFound);
  labels[kTargetLabel] = "sha256:another";
  EXPECT_TRUE(snapshotter().prepare(context_, "w", "", labels));
}

TEST_P(SnapshotterSuite, EverythingOutlivesARestart) {
  layer("base", "", [](const Path& root) { EXPECT_TRUE(write_file(root / "x", "1")); });
  with_mounted(snapshotter().prepare(context_, "a", "base", {}),
               [](const Path& root) { EXPECT_TRUE(write_file(root / "y", "2")); });
  harness_->restart();
  EXPECT_TRUE(snapshotter().stat(context_, "base"));
  with_mounted(snapshotter().mounts(context_, "a"), [](const Path& root) {
    EXPECT_EQ(read_file(root / "x").value(), "1");
    EXPECT_EQ(read_file(root / "y").value(), "2");
  });
}

TEST_P(SnapshotterSuite, ManyAtOnce) {
  layer("base", "", nothing);
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&, i] {
      std::string key = "k" + std::to_string(i);
      if (!snapshotter().prepare(context_, key, "base", {})) return;
      if (snapshotter().commit(context_, "c" + std::to_string(i), key, {})) ++good;
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(good, 8);
  // Of several that want one name, one gets it.
  good = 0;
  threads.clear();
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      if (snapshotter().prepare(context_, "wanted", "base", {})) ++good;
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(good, 1);
}

TEST_P(SnapshotterSuite, AStoppedContextDoesNothing) {
  std::stop_source stop;
  stop.request_stop();
  Context stopped = context_.with_stop(stop.get_token());
  EXPECT_EQ(code_of(snapshotter().prepare(stopped, "a", "", {})), Code::kCanceled);
  EXPECT_EQ(code_of(snapshotter().stat(context_, "a")), Code::kNotFound);
}

TEST_P(SnapshotterSuite, AParentMayComeAtCommitWhereThatIsSaid) {
  layer("base", "", [](const Path& root) { EXPECT_TRUE(write_file(root / "x", "base")); });
  auto mounts = snapshotter().prepare(context_, "w", "", {});
  if (!snapshotter().capabilities().rebase) {
    EXPECT_EQ(code_of(snapshotter().commit(context_, "top", "w", {.parent = "base"})),
              Code::kInvalidArgument);
    return;
  }
  // A layer without a parent is a plain folder that one may write to directly.
  auto folders = layer_folders(*mounts);
  ASSERT_TRUE(folders);
  EXPECT_THAT(folders->lowers, IsEmpty());
  ASSERT_TRUE(write_file(folders->upper / "y", "top"));
  EXPECT_EQ(code_of(snapshotter().commit(context_, "top", "w", {.parent = "nobody"})),
            Code::kNotFound);
  ASSERT_TRUE(snapshotter().commit(context_, "top", "w", {.parent = "base"}));
  EXPECT_EQ(snapshotter().stat(context_, "top")->parent, "base");
  with_mounted(snapshotter().view(context_, "v", "top", {}), [](const Path& root) {
    EXPECT_EQ(read_file(root / "x").value(), "base");
    EXPECT_EQ(read_file(root / "y").value(), "top");
  });
}

}  // namespace skiff::snapshot
