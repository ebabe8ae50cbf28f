#include "sys/file.h"

#include <algorithm>

#include <fcntl.h>
#include <gtest/gtest.h>

namespace skiff::sys {
namespace {

const CrashPoint kTestRename{"sys.test.rename"};

TEST(File, ReplaceShowsOldOrNewAndLeavesNoTemporary) {
  TempDir dir;
  Path path = dir.path() / "a";
  ASSERT_TRUE(write_file(path, "old"));
  ASSERT_TRUE(replace_file(kTestRename, path, "new", 0600, true));
  EXPECT_EQ(read_file(path).value(), "new");
  EXPECT_EQ(list_dir(dir.path())->size(), 1u);
  EXPECT_EQ(stat_path(path)->st_mode & 0777, 0600u);
}

TEST(File, ReadIsBoundedAndNamesThePath) {
  TempDir dir;
  ASSERT_TRUE(write_file(dir.path() / "a", "12345"));
  auto read = read_file(dir.path() / "a", 4);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code(), Code::kResourceExhausted);
  EXPECT_NE(read.error().message().find("/a"), std::string::npos);
}

TEST(File, ConfinedOpenDoesNotLeaveTheFolder) {
  TempDir dir;
  ASSERT_TRUE(make_dirs(dir.path() / "root/etc"));
  ASSERT_TRUE(write_file(dir.path() / "secret", "s"));
  ASSERT_TRUE(write_file(dir.path() / "root/etc/passwd", "p"));
  ASSERT_EQ(symlink("../../secret", (dir.path() / "root/etc/out").c_str()), 0);
  ASSERT_EQ(symlink("/etc/passwd", (dir.path() / "root/etc/abs").c_str()), 0);
  UniqueFd root = open_dir(dir.path() / "root").value();
  EXPECT_FALSE(open_confined(root.get(), "etc/out", O_RDONLY, Confine::kBeneath));
  EXPECT_FALSE(open_confined(root.get(), "../secret", O_RDONLY, Confine::kBeneath));
  EXPECT_TRUE(open_confined(root.get(), "etc/abs", O_RDONLY, Confine::kInRoot));
  EXPECT_FALSE(open_confined(root.get(), "etc/abs", O_RDONLY, Confine::kNoSymlinks));
}

TEST(File, RemoveTreeDoesNotFollowLinksAndIsIdempotent) {
  TempDir dir;
  ASSERT_TRUE(make_dirs(dir.path() / "t/a/b"));
  ASSERT_TRUE(write_file(dir.path() / "keep", "k"));
  ASSERT_EQ(symlink(dir.path().c_str(), (dir.path() / "t/a/up").c_str()), 0);
  ASSERT_TRUE(remove_tree(dir.path() / "t"));
  EXPECT_FALSE(path_exists(dir.path() / "t"));
  EXPECT_TRUE(path_exists(dir.path() / "keep"));
  EXPECT_TRUE(remove_tree(dir.path() / "t"));
}

TEST(File, UsageCountsHardLinksOnce) {
  TempDir dir;
  ASSERT_TRUE(write_file(dir.path() / "a", std::string(8192, 'x')));
  uint64_t before = disk_usage(dir.path())->inodes;
  ASSERT_EQ(link((dir.path() / "a").c_str(), (dir.path() / "b").c_str()), 0);
  EXPECT_EQ(disk_usage(dir.path())->inodes, before);
}

TEST(File, SourceReadsARange) {
  TempDir dir;
  ASSERT_TRUE(write_file(dir.path() / "a", "0123456789"));
  FileSource source(open_file(dir.path() / "a", O_RDONLY).value(), 3, 4);
  EXPECT_EQ(read_all(source, 100).value(), "3456");
}

}  // namespace
}  // namespace skiff::sys
