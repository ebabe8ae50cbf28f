#include "sys/copy_tree.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace skiff::sys {
namespace {

using testing::HasSubstr;

class CopyTreeTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(make_dir(from_));
    ASSERT_TRUE(make_dir(to_));
  }
  struct stat stat_of(const Path& path) { return stat_path(path).value(); }

  TempDir temp_;
  Path from_ = temp_.path() / "from";
  Path to_ = temp_.path() / "to";
};

TEST_F(CopyTreeTest, KeepsWhatATreeHas) {
  ASSERT_TRUE(make_dirs(from_ / "a/b"));
  ASSERT_TRUE(write_file(from_ / "a/suid", "text"));
  ASSERT_EQ(chown((from_ / "a/suid").c_str(), 1234, 3000000), 0);
  ASSERT_EQ(chmod((from_ / "a/suid").c_str(), 04751), 0);
  ASSERT_EQ(symlink("/etc/passwd", (from_ / "a/b/link").c_str()), 0);
  ASSERT_EQ(lchown((from_ / "a/b/link").c_str(), 5, 6), 0);
  ASSERT_EQ(mknod((from_ / "null").c_str(), S_IFCHR | 0644, makedev(1, 3)), 0);
  ASSERT_EQ(mkfifo((from_ / "fifo").c_str(), 0600), 0);
  ASSERT_EQ(setxattr((from_ / "a/suid").c_str(), "user.note", "x\0y", 3, 0), 0);
  ASSERT_EQ(lsetxattr((from_ / "a/b/link").c_str(), "trusted.note", "l", 1, 0), 0);
  ASSERT_EQ(setxattr(from_.c_str(), "trusted.overlay.opaque", "y", 1, 0), 0);
  ASSERT_EQ(chmod((from_ / "a").c_str(), 01700), 0);
  timespec times[2] = {{100, 5}, {1234567890, 123456789}};
  ASSERT_EQ(utimensat(AT_FDCWD, (from_ / "a/suid").c_str(), times, 0), 0);
  ASSERT_EQ(utimensat(AT_FDCWD, (from_ / "a/b/link").c_str(), times, AT_SYMLINK_NOFOLLOW), 0);
  ASSERT_EQ(utimensat(AT_FDCWD, (from_ / "a").c_str(), times, 0), 0);

  Status status = copy_tree(Context(), from_, to_);
  ASSERT_TRUE(status) << status.error().message();
  EXPECT_EQ(read_file(to_ / "a/suid").value(), "text");
  for (const char* name : {"a", "a/suid", "a/b/link", "null", "fifo", "."}) {
    struct stat was = stat_of(from_ / name), is = stat_of(to_ / name);
    EXPECT_EQ(is.st_mode, was.st_mode) << name;
    EXPECT_EQ(is.st_uid, was.st_uid) << name;
    EXPECT_EQ(is.st_gid, was.st_gid) << name;
    EXPECT_EQ(is.st_rdev, was.st_rdev) << name;
    EXPECT_EQ(is.st_mtim.tv_sec, was.st_mtim.tv_sec) << name;
    EXPECT_EQ(is.st_mtim.tv_nsec, was.st_mtim.tv_nsec) << name;
  }
  char value[8];
  EXPECT_EQ(getxattr((to_ / "a/suid").c_str(), "user.note", value, sizeof value), 3);
  EXPECT_EQ(lgetxattr((to_ / "a/b/link").c_str(), "trusted.note", value, sizeof value), 1);
  EXPECT_EQ(getxattr(to_.c_str(), "trusted.overlay.opaque", value, sizeof value), 1);
}

TEST_F(CopyTreeTest, LinksStayOneFile) {
  ASSERT_TRUE(make_dirs(from_ / "x/y"));
  ASSERT_TRUE(write_file(from_ / "x/one", "1"));
  std::filesystem::create_hard_link(from_ / "x/one", from_ / "two");
  std::filesystem::create_hard_link(from_ / "x/one", from_ / "x/y/three");
  ASSERT_TRUE(copy_tree(Context(), from_, to_));
  EXPECT_EQ(stat_of(to_ / "two").st_nlink, 3u);
  EXPECT_EQ(stat_of(to_ / "two").st_ino, stat_of(to_ / "x/y/three").st_ino);
  EXPECT_NE(stat_of(to_ / "two").st_ino, stat_of(from_ / "two").st_ino);
}

TEST_F(CopyTreeTest, HolesStayHoles) {
  UniqueFd fd = *open_file(from_ / "sparse", O_RDWR | O_CREAT);
  ASSERT_TRUE(pwrite_fd(fd.get(), as_bytes("middle"), 32 << 20));
  ASSERT_EQ(ftruncate(fd.get(), 64 << 20), 0);
  ASSERT_TRUE(copy_tree(Context(), from_, to_));
  struct stat st = stat_of(to_ / "sparse");
  EXPECT_EQ(st.st_size, 64 << 20);
  EXPECT_LT(st.st_blocks * 512, 1 << 20);
  UniqueFd copied = *open_file(to_ / "sparse", O_RDONLY);
  char text[6];
  ASSERT_EQ(pread_fd(copied.get(), {reinterpret_cast<std::byte*>(text), 6}, 32 << 20).value(), 6u);
  EXPECT_EQ(std::string_view(text, 6), "middle");
}

TEST_F(CopyTreeTest, StopsWithTheContextAndNamesWhatFailed) {
  ASSERT_TRUE(write_file(from_ / "file", "1"));
  std::stop_source stop;
  stop.request_stop();
  EXPECT_TRUE(
      copy_tree(Context().with_stop(stop.get_token()), from_, to_).error().is(Code::kCanceled));
  ASSERT_TRUE(write_file(to_ / "file", "in the way"));
  auto status = copy_tree(Context(), from_, to_);
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message(), HasSubstr("file"));
}

}  // namespace
}  // namespace skiff::sys
