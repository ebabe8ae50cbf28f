#include "sys/mount.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>

#include "sys/overlay_mount.h"

namespace skiff::sys {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(MountInfoTest, ParsesEveryField) {
  auto mounts = parse_mountinfo(
      "36 35 98:0 /mnt1 /mnt\\040two rw,noatime master:1 shared:7 - ext3 /dev/ro\\134ot rw,x=y\n"
      "37 36 0:1 / /proc rw - proc proc rw\n"
      "38 36 0:2 / /empty rw -  tmpfs  rw\n");
  ASSERT_TRUE(mounts) << mounts.error().message();
  ASSERT_EQ(mounts->size(), 3u);
  const MountInfo& first = mounts->front();
  EXPECT_EQ(first.id, 36);
  EXPECT_EQ(first.parent, 35);
  EXPECT_EQ(first.device, "98:0");
  EXPECT_EQ(first.root, "/mnt1");
  EXPECT_EQ(first.target, "/mnt two");
  EXPECT_EQ(first.options, "rw,noatime");
  EXPECT_EQ(first.propagation, "master:1 shared:7");
  EXPECT_EQ(first.type, "ext3");
  EXPECT_EQ(first.source, "/dev/ro\\ot");
  EXPECT_EQ(first.super_options, "rw,x=y");
  EXPECT_EQ((*mounts)[1].propagation, "");
  EXPECT_EQ((*mounts)[2].source, "");
  EXPECT_EQ((*mounts)[2].super_options, "rw");
}

TEST(MountInfoTest, RefusesOtherText) {
  EXPECT_TRUE(parse_mountinfo("not a mount\n").error().is(Code::kInvalidArgument));
}

TEST(OverlayTest, SplitsLowersWithEscapes) {
  EXPECT_THAT(split_lowers("/a\\:b:/c\\\\d:/e"), ElementsAre("/a:b", "/c\\d", "/e"));
}

// Everything below mounts for real, in a mount namespace of its own.
class MountTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    ASSERT_EQ(unshare(CLONE_NEWNS), 0) << "these tests need root";
    ASSERT_TRUE(make_private("/"));
  }
  Path dir(const std::string& name) {
    Path path = temp_.path() / name;
    EXPECT_TRUE(make_dirs(path));
    return path;
  }
  bool mounted(const Path& path) {
    auto mounts = mounts_below(path);
    return mounts && !mounts->empty();
  }
  // `count` lower folders, each with a file of its own name; `stem` lengthens their paths.
  std::vector<std::string> lowers(int count, const std::string& stem) {
    std::vector<std::string> all;
    for (int i = 0; i < count; ++i) {
      Path folder = dir(fmt::format("{}/{}/fs", stem, i));
      EXPECT_TRUE(write_file(folder / fmt::format("f{}", i), std::to_string(i)));
      all.push_back(folder.string());
    }
    return all;
  }
  std::vector<std::string> overlay_options(const std::vector<std::string>& lowers) {
    std::string joined = "lowerdir=";
    for (const auto& lower : lowers) joined += (joined.back() == '=' ? "" : ":") + lower;
    return {joined, "upperdir=" + dir("upper").string(), "workdir=" + dir("work").string()};
  }

  TempDir temp_;
};

TEST_F(MountTest, BindReadOnlyAndDetach) {
  Path source = dir("source"), target = dir("target");
  ASSERT_TRUE(bind_mount(source, target, true));
  EXPECT_EQ(write_file(target / "x", "1").error().sys_errno(), EROFS);
  EXPECT_TRUE(write_file(source / "x", "1"));
  EXPECT_TRUE(path_exists(target / "x"));
  auto fd = open_file(target / "x", O_RDONLY);
  ASSERT_TRUE(fd);
  EXPECT_EQ(unmount(target).error().sys_errno(), EBUSY);
  EXPECT_TRUE(unmount(target, Unmount::kDetach));
  EXPECT_FALSE(mounted(target));
  EXPECT_TRUE(unmount(target)) << "nothing mounted is no error";
}

TEST_F(MountTest, GuardTakesOffEverythingBelow) {
  Path target = dir("target");
  {
    MountGuard guard(target);
    ASSERT_TRUE(mount_tmpfs(target, {"size=1m", "nosuid"}));
    ASSERT_TRUE(make_dir(target / "in"));
    ASSERT_TRUE(mount_tmpfs(target / "in"));
    EXPECT_EQ(mounts_below(target)->size(), 2u);
    EXPECT_THAT(mounts_below(target)->front().options, HasSubstr("nosuid"));
  }
  EXPECT_FALSE(mounted(target));
}

struct Spec {
  std::string type, source, target;
  std::vector<std::string> options;
};

TEST_F(MountTest, AllOrNone) {
  Path source = dir("source"), target = dir("target");
  ASSERT_TRUE(make_dirs(source / "sub"));
  std::vector<Spec> mounts = {{"bind", source, "", {"rbind"}}, {"tmpfs", "tmpfs", "/sub", {}}};
  ASSERT_TRUE(mount_all(mounts, target));
  EXPECT_EQ(mounts_below(target)->size(), 2u);
  ASSERT_TRUE(unmount_all(target));
  mounts.push_back({"bind", "/does/not/exist", "", {}});
  EXPECT_TRUE(mount_all(mounts, target).error().is(Code::kNotFound));
  EXPECT_FALSE(mounted(target));
}

TEST_F(MountTest, TargetsStayInside) {
  Path source = dir("source"), target = dir("target"), outside = dir("outside");
  std::filesystem::create_directory_symlink(outside, source / "escape");
  std::vector<Spec> mounts = {{"bind", source, "", {}}, {"tmpfs", "tmpfs", "/escape", {}}};
  EXPECT_FALSE(mount_all(mounts, target));
  EXPECT_FALSE(mounted(outside));
}

TEST_F(MountTest, OverlayInEveryForm) {
  auto options = overlay_options(lowers(3, "l"));
  Path target = dir("merged");
  for (OverlayForm form : {OverlayForm::kConfig, OverlayForm::kPage, OverlayForm::kRelative}) {
    ASSERT_TRUE(mount_overlay_as(form, "overlay", options, MS_NODEV, target));
    EXPECT_EQ(read_file(target / "f2").value(), "2");
    EXPECT_TRUE(write_file(target / "new", ""));
    EXPECT_THAT(mounts_below(target)->front().options, HasSubstr("nodev"));
    ASSERT_TRUE(unmount_all(target));
  }
}

TEST_F(MountTest, ManyLowersWithLongPaths) {
  // 127 lowers: their paths fill more than a page, relative ones less.
  auto options = overlay_options(lowers(127, "some/way/down/below/the/root/snapshots/overlay"));
  Path target = dir("merged");
  ASSERT_FALSE(mount_overlay_as(OverlayForm::kPage, "overlay", options, 0, target));
  for (OverlayForm form : {OverlayForm::kAuto, OverlayForm::kConfig, OverlayForm::kRelative}) {
    Status status = mount_overlay_as(form, "overlay", options, 0, target);
    ASSERT_TRUE(status) << status.error().message();
    EXPECT_EQ(read_file(target / "f126").value(), "126");
    ASSERT_TRUE(unmount_all(target));
  }
}

TEST_F(MountTest, OverlayPathsBeyondOneConfigString) {
  auto options = overlay_options(lowers(2, std::string(200, 'a') + "/" + std::string(200, 'b')));
  Path target = dir("merged");
  Status status = sys::mount("overlay", "overlay", options, target);
  ASSERT_TRUE(status) << status.error().message();
  EXPECT_EQ(read_file(target / "f1").value(), "1");
}

TEST_F(MountTest, OverlayErrorsSayWhy) {
  auto status = sys::mount("overlay", "overlay", {"lowerdir=/does/not/exist:/neither"}, dir("m"));
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message(), HasSubstr("/does/not/exist"));
  EXPECT_FALSE(sys::mount("overlay", "overlay", {"lowerdir=/", "no_such_option"}, dir("m")));
}

TEST_F(MountTest, ProbeSaysWhatWorks) {
  Path scratch = dir("scratch");
  EXPECT_TRUE(probe_overlay(scratch, {"index=off"}));
  EXPECT_FALSE(probe_overlay(scratch, {"no_such_option"}));
  EXPECT_TRUE(list_dir(scratch)->empty());
  EXPECT_FALSE(mounted(scratch));
}

}  // namespace
}  // namespace skiff::sys
