#include "layer/applier.h"

#include <gtest/gtest.h>

#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "layer/names.h"
#include "sys/file.h"
#include "tests/lib/layers.h"

namespace skiff::layer {
namespace {

using namespace skiff::testing;

class Apply : public ::testing::Test {
 protected:
  std::string fresh_dir() {
    std::string path = temp_.path() / fmt::format("d{}", count_++);
    EXPECT_TRUE(sys::make_dir(path));
    return path;
  }
  Result<ApplyStats> mounted(const std::string& root, const std::string& tar,
                             ApplyOptions options = {}) {
    auto fd = sys::open_dir(root);
    codec::MemoryWindow window(as_bytes(tar));
    return applier_->apply_mounted(context_, window, fd->get(), options);
  }
  Status staged(const std::string& root, const std::string& tar,
                std::vector<std::string> lowers = {}, ApplyOptions options = {}) {
    auto fd = sys::open_dir(root);
    codec::MemoryWindow window(as_bytes(tar));
    auto layer = SKIFF_TRY(applier_->apply_staged(context_, window, fd->get(), options));
    return applier_->settle(context_, layer, fd->get(), lowers);
  }

  sys::TempDir temp_;
  Context context_;
  std::unique_ptr<Applier> applier_ = make_tar_applier();
  int count_ = 0;
};

LayerItems one_of_each() {
  return {item_dir("./").mode(0711).time(7),
          item_dir("d").mode(03775).owner(5, 6).time(8, 9),
          item_file("d/f", "content")
              .mode(04755)
              .owner(4'000'000'000, 2'097'152)
              .time(1'600'000'000, 123'456'789),
          item_file("d/cap").xattr("security.capability",
                                   std::string("\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20)),
          item_file("d/user").xattr("user.a", "b").xattr("trusted.t", ""),
          item_link("d/l", "d/f"),
          item_symlink("d/s", "/no/where").owner(1, 1).time(-5),
          item_char("d/c", 1, 3).mode(0666),
          item_fifo("d/p").mode(0620),
          item_file("umask").mode(0666),
          item_dir("sticky").mode(01777)};
}

TEST_F(Apply, EveryTypeWithAllItCarriesInBothForms) {
  std::string tar = layer_tar(one_of_each());
  std::string a = fresh_dir(), b = fresh_dir();
  auto stats = mounted(a, tar);
  ASSERT_TRUE(stats) << stats.error().message();
  EXPECT_EQ(stats->entries, 11u);
  EXPECT_EQ(stats->bytes, 7u);
  EXPECT_EQ(stats->dropped_xattrs, 0u);
  Status status = staged(b, tar);
  ASSERT_TRUE(status) << status.error().message();
  Listing listing = list_tree(a);
  EXPECT_EQ(difference(listing, list_tree(b)), "");
  EXPECT_EQ(listing["."].substr(0, 22), "d 0711 0:0 7.000000000");
  EXPECT_EQ(listing["d"].substr(0, 22), "d 3775 5:6 8.000000009");
  EXPECT_EQ(listing["d/f"].substr(0, 56),
            "- 4755 4000000000:2097152 1600000000.123456789 size=7 ed");
  EXPECT_NE(listing["d/cap"].find("security.capability="), std::string::npos);
  EXPECT_NE(listing["d/user"].find("trusted.t="), std::string::npos);
  EXPECT_EQ(listing["d/l"], listing["d/f"] + " same as d/f");
  EXPECT_EQ(listing["d/s"], "l 0777 1:1 -5.000000000 -> /no/where");
  EXPECT_EQ(listing["d/c"], "c 0666 0:0 1000.000000000 1,3");
  EXPECT_EQ(listing["d/p"].substr(0, 6), "p 0620");
  EXPECT_EQ(listing["umask"].substr(0, 6), "- 0666");
  EXPECT_EQ(listing["sticky"].substr(0, 6), "d 1777");
}

TEST_F(Apply, TheUmaskDoesNotMatter) {
  std::string a = fresh_dir(), b = fresh_dir();
  ASSERT_TRUE(mounted(a, layer_tar(one_of_each())));
  mode_t before = umask(0777);
  Status status = staged(b, layer_tar(one_of_each()));
  umask(before);
  ASSERT_TRUE(status) << status.error().message();
  EXPECT_EQ(difference(list_tree(a), list_tree(b)), "");
}

// Each of these must fail with InvalidArgument in both forms, and leave what is outside alone.
TEST_F(Apply, HostileLayersAreRefused) {
  std::string deep;
  for (int i = 0; i < 10'000; ++i) deep += "d/";
  std::vector<std::pair<std::string, LayerItems>> cases = {
      {"climbs", {item_file("../out", "x")}},
      {"climbs late", {item_file("a/b/../../../out", "x")}},
      {"deep", {item_file(deep + "f", "x")}},
      {"long name", {item_file(std::string(300, 'n'), "x")}},
      {"below a file", {item_file("f", "x"), item_file("f/g", "x")}},
      {"link loop", {item_symlink("a", "b"), item_symlink("b", "a"), item_file("a/f", "x")}},
      {"link to itself", {item_link("a", "a")}},
      {"link to nothing", {item_link("a", "b")}},
      {"link out", {item_link("a", "../../etc/passwd")}},
      {"link to a directory", {item_dir("d"), item_link("a", "d")}},
      {"link to the root", {item_link("a", "/")}},
      {"root as a file", {item_file("./", "x")}},
      {"root as a link", {item_symlink(".", "x")}},
      {"whiteout device", {item_char("w", 0, 0)}},
      {"whiteout of nothing", {item_whiteout(".wh.")}},
      {"whiteout of .", {item_whiteout("a/.wh..")}},
      {"whiteout of ..", {item_whiteout("a/.wh...")}},
  };
  std::string outside = fresh_dir();
  Listing before = list_tree(outside);
  for (auto& [name, items] : cases) {
    std::string tar = layer_tar(items);
    std::string root = fresh_dir();
    auto a = mounted(root, tar);
    ASSERT_FALSE(a) << name;
    EXPECT_EQ(a.error().code(), Code::kInvalidArgument) << name << ": " << a.error().message();
    auto b = staged(fresh_dir(), tar);
    ASSERT_FALSE(b) << name;
    EXPECT_EQ(b.error().code(), Code::kInvalidArgument) << name << ": " << b.error().message();
  }
  EXPECT_FALSE(sys::path_exists(temp_.path() / "out"));
  EXPECT_EQ(list_tree(outside), before);
}

TEST_F(Apply, SymlinksNeverLeadOut) {
  std::string outside = fresh_dir();
  Listing before = list_tree(outside);
  std::string up;
  for (int i = 0; i < 30; ++i) up += "../";
  LayerItems items = {item_dir("./"),
                      item_symlink("abs", outside),
                      item_file("abs/f", "x"),
                      item_symlink("rel", up + outside.substr(1)),
                      item_file("rel/g", "x"),
                      item_symlink("file", outside + "/target"),
                      item_file("file", "x"),
                      item_dir("d"),
                      item_symlink("d/s", outside),
                      item_dir("d/s"),
                      item_file("d/s/h", "x")};
  std::string a = fresh_dir(), b = fresh_dir();
  auto stats = mounted(a, layer_tar(items));
  ASSERT_TRUE(stats) << stats.error().message();
  Status status = staged(b, layer_tar(items));
  ASSERT_TRUE(status) << status.error().message();
  EXPECT_EQ(list_tree(outside), before);
  EXPECT_EQ(difference(list_tree(a), list_tree(b)), "");
  EXPECT_TRUE(sys::path_exists(a + outside + "/f"));
  EXPECT_TRUE(sys::path_exists(a + outside + "/g"));
  // Across layers: the link comes from the layer below.
  ASSERT_TRUE(mounted(a, layer_tar({item_file("abs/late", "x"), item_link("hard", "abs/late"),
                                    item_whiteout("rel/.wh.f")})));
  EXPECT_EQ(list_tree(outside), before);
  EXPECT_TRUE(sys::path_exists(a + outside + "/late"));
  EXPECT_FALSE(sys::path_exists(a + outside + "/f"));
}

TEST_F(Apply, LimitsHold) {
  std::string tar = layer_tar({item_file("a", "123"), item_file("b", "456"), item_dir("c")});
  auto code = [&](ApplyLimits limits) {
    auto result = mounted(fresh_dir(), tar, {.limits = limits});
    return result ? Code::kOk : result.error().code();
  };
  EXPECT_EQ(code({.entries = 3}), Code::kOk);
  EXPECT_EQ(code({.entries = 2}), Code::kResourceExhausted);
  EXPECT_EQ(code({.bytes = 5}), Code::kResourceExhausted);
  EXPECT_EQ(code({.file_bytes = 2}), Code::kResourceExhausted);
}

TEST_F(Apply, DevicesOnlyWhereTheyAreAllowed) {
  std::string tar = layer_tar({item_char("c", 1, 3)});
  auto refused = mounted(fresh_dir(), tar, {.allow_devices = false});
  EXPECT_EQ(refused.error().code(), Code::kPermissionDenied);
  EXPECT_EQ(refused.error().message(), "layer entry \"c\": a character device is not allowed here");
  EXPECT_TRUE(mounted(fresh_dir(), layer_tar({item_fifo("p")}), {.allow_devices = false}));
}

TEST_F(Apply, XattrsThatSpeakToTheHostAreDropped) {
  std::string tar = layer_tar(
      {item_dir("d").xattr("trusted.overlay.opaque", "y").xattr("trusted.overlay.redirect", "/etc"),
       item_file("f").xattr("user.overlay.metacopy", "").xattr("security.selinux", "x"),
       item_symlink("s", "x").xattr("user.not-on-links", "x")});
  std::string root = fresh_dir();
  auto stats = mounted(root, tar);
  ASSERT_TRUE(stats) << stats.error().message();
  EXPECT_EQ(stats->dropped_xattrs, 5u);
  EXPECT_EQ(lgetxattr((root + "/d").c_str(), "trusted.overlay.opaque", nullptr, 0), -1);
}

TEST_F(Apply, CancellationEndsIt) {
  std::stop_source stop;
  stop.request_stop();
  context_ = Context().with_stop(stop.get_token());
  EXPECT_EQ(mounted(fresh_dir(), layer_tar({item_file("f")})).error().code(), Code::kCanceled);
}

TEST_F(Apply, SparseFilesKeepTheirHoles) {
  std::string source = fresh_dir();
  ASSERT_TRUE(sys::write_file(source + "/sparse", "begin"));
  ASSERT_EQ(truncate((source + "/sparse").c_str(), 64 << 20), 0);
  ASSERT_EQ(std::system(fmt::format("tar -C {0} -S -cf {0}/t.tar sparse", source).c_str()), 0);
  std::string root = fresh_dir();
  ASSERT_TRUE(mounted(root, sys::read_file(source + "/t.tar").value()));
  auto st = sys::stat_path(root + "/sparse").value();
  EXPECT_EQ(st.st_size, 64 << 20);
  EXPECT_LT(st.st_blocks, 100);
  EXPECT_EQ(sys::read_file(root + "/sparse").value(), sys::read_file(source + "/sparse").value());
}

TEST_F(Apply, ALayerWithAllParentsNeedsNoSettling) {
  auto fd = sys::open_dir(fresh_dir());
  std::string tar = layer_tar({item_dir("./"), item_dir("a"), item_file("a/b")});
  codec::MemoryWindow window(as_bytes(tar));
  EXPECT_TRUE(applier_->apply_staged(context_, window, fd->get(), {})->self_contained());
  tar = layer_tar({item_dir("./"), item_file("a/b/c")});
  codec::MemoryWindow other(as_bytes(tar));
  auto more = sys::open_dir(fresh_dir());
  EXPECT_FALSE(applier_->apply_staged(context_, other, more->get(), {})->self_contained());
}

TEST_F(Apply, ALayerWhoseOutcomeDependsOnOrderIsHandedBack) {
  std::string lower = fresh_dir(), upper = fresh_dir();
  ASSERT_TRUE(mounted(lower, layer_tar({item_dir("usr/bin"), item_symlink("bin", "usr/bin")})));
  auto status = staged(upper, layer_tar({item_file("bin/f"), item_dir("bin")}), {lower});
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), Code::kFailedPrecondition);
  // Without the symlink below there is nothing to it.
  EXPECT_TRUE(staged(fresh_dir(), layer_tar({item_file("bin/f"), item_dir("bin")}), {fresh_dir()}));
}

TEST_F(Apply, AnImplicitDirectoryOverAFileOfTheLowersIsRefused) {
  std::string lower = fresh_dir();
  ASSERT_TRUE(mounted(lower, layer_tar({item_file("f", "x")})));
  EXPECT_EQ(staged(fresh_dir(), layer_tar({item_file("f/g")}), {lower}).error().code(),
            Code::kInvalidArgument);
  EXPECT_EQ(mounted(lower, layer_tar({item_file("f/g")})).error().code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace skiff::layer
