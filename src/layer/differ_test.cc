#include "layer/differ.h"

#include <gtest/gtest.h>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "codec/tar/reader.h"
#include "layer/applier.h"
#include "sys/copy_tree.h"
#include "sys/file.h"
#include "tests/lib/layers.h"

namespace skiff::layer {
namespace {

using namespace skiff::testing;

class Diff : public ::testing::Test {
 protected:
  std::string fresh_dir() {
    std::string path = temp_.path() / fmt::format("d{}", count_++);
    EXPECT_TRUE(sys::make_dir(path));
    return path;
  }
  void apply(const std::string& root, const std::string& tar) {
    codec::MemoryWindow window(as_bytes(tar));
    auto stats = applier_->apply_mounted(context_, window, sys::open_dir(root)->get(), {});
    ASSERT_TRUE(stats) << stats.error().message();
  }
  std::string copy_of(const std::string& tree) {
    std::string copy = fresh_dir();
    EXPECT_TRUE(sys::copy_tree(context_, tree, copy));
    return copy;
  }
  std::string trees(const std::string& lower, const std::string& upper) {
    StringSink sink;
    Status status = differ_->diff_trees(context_, lower, upper, sink);
    EXPECT_TRUE(status) << status.error().message();
    return sink.take();
  }
  static std::vector<std::string> names(const std::string& tar) {
    codec::MemoryWindow window(as_bytes(tar));
    codec::tar::Reader reader(window);
    std::vector<std::string> names;
    while (const auto* entry = *reader.next()) names.push_back(entry->name);
    return names;
  }

  sys::TempDir temp_;
  Context context_;
  std::unique_ptr<Applier> applier_ = make_tar_applier();
  std::unique_ptr<Differ> differ_ = make_tar_differ();
  int count_ = 0;
};

LayerItems tree() {
  return {item_dir("./").time(1),
          item_dir("a").time(2),
          item_file("a/f", "f"),
          item_file("a/g", "g"),
          item_dir("a/sub").time(3),
          item_file("a/sub/deep", "d"),
          item_dir("b").time(4),
          item_file("b/h", "h").xattr("user.x", "y"),
          item_link("b/l", "b/h"),
          item_symlink("s", "a/f"),
          item_fifo("p"),
          item_char("c", 1, 3)};
}

TEST_F(Diff, AWholeTreeComesBack) {
  std::string lower = fresh_dir(), again = fresh_dir();
  apply(lower, layer_tar(tree()));
  std::string tar = trees("", lower);
  EXPECT_EQ(tar, trees("", lower));
  apply(again, tar);
  EXPECT_EQ(difference(list_tree(lower), list_tree(again)), "");
}

TEST_F(Diff, EqualTreesDifferInNothing) {
  std::string lower = fresh_dir();
  apply(lower, layer_tar(tree()));
  EXPECT_EQ(names(trees(lower, copy_of(lower))), std::vector<std::string>());
}

TEST_F(Diff, ChangesAppliedToTheLowerMakeTheUpper) {
  std::string lower = fresh_dir();
  apply(lower, layer_tar(tree()));
  std::string upper = copy_of(lower);
  apply(upper,
        layer_tar({item_whiteout("a/.wh.f"), item_file("a/sub/new", "n"),
                   item_file("b", "now a file"), item_dir("p").time(9), item_file("p/x", "x"),
                   item_symlink("s", "b"), item_dir("a").mode(0700).time(2)}));
  std::string tar = trees(lower, upper);
  EXPECT_EQ(names(tar), (std::vector<std::string>{"a/", "a/.wh.f", "a/sub/", "a/sub/new", "b", "p/",
                                                  "p/x", "s"}));
  apply(lower, tar);
  EXPECT_EQ(difference(list_tree(lower), list_tree(upper)), "");
}

TEST_F(Diff, ContentThatChangedUnderTheSameTimeIsSeen) {
  std::string lower = fresh_dir();
  apply(lower, layer_tar(tree()));
  std::string upper = copy_of(lower);
  apply(upper, layer_tar({item_file("a/g", "G")}));
  EXPECT_EQ(names(trees(lower, upper)), (std::vector<std::string>{"a/", "a/g"}));
}

TEST_F(Diff, AnUpperBecomesALayer) {
  std::string lower = fresh_dir(), upper = fresh_dir(), target = fresh_dir();
  apply(lower, layer_tar(tree()));
  codec::MemoryWindow window(as_bytes(""));
  std::string layer = layer_tar({item_file("a/new", "n"), item_whiteout("a/.wh.f"),
                                 item_dir("b").time(7), item_whiteout("b/.wh..wh..opq"),
                                 item_file("b/only", "o"), item_link("b/too", "b/only")});
  codec::MemoryWindow tar(as_bytes(layer));
  auto fd = sys::open_dir(upper);
  auto staged = applier_->apply_staged(context_, tar, fd->get(), {});
  ASSERT_TRUE(staged);
  std::vector<std::string> lowers = {lower};
  ASSERT_TRUE(applier_->settle(context_, *staged, fd->get(), lowers));
  StringSink sink;
  ASSERT_TRUE(differ_->diff_upper(context_, upper, sink));
  std::string diff = sink.take();
  EXPECT_EQ(names(diff), (std::vector<std::string>{"./", "a/", "a/.wh.f", "a/new", "b/",
                                                   "b/.wh..wh..opq", "b/only", "b/too"}));
  std::string other = copy_of(lower);
  apply(lower, layer);
  apply(other, diff);
  EXPECT_EQ(difference(list_tree(lower), list_tree(other)), "");
}

TEST_F(Diff, SocketsAreLeftOut) {
  std::string upper = fresh_dir();
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s/sock", upper.c_str());
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  close(fd);
  EXPECT_EQ(names(trees("", upper)), std::vector<std::string>{"./"});
}

}  // namespace
}  // namespace skiff::layer
