// LayerEquivalence: the two apply forms and an independent implementation (umoci) make the same
// tree of the same layers. Each case is a stack of layers made to tell them apart.
//
//   parallel  every layer staged on its own, then settled in chain order, seen through an overlay
//   serial    every layer applied onto one plain directory, in the mounted form
//   redone    where settle hands a layer back: the mounted form onto an overlay mount
//   umoci     `umoci raw unpack` of an OCI layout with the same layers
//
// parallel == serial always. Where umoci differs, the case says how, and docs/decisions says why.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <random>

#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include "codec/hash.h"
#include "layer/applier.h"
#include "sys/file.h"
#include "sys/mount.h"
#include "tests/lib/layers.h"

namespace skiff::layer {
namespace {

using namespace skiff::testing;

struct Case {
  const char* name;
  std::vector<LayerItems> layers;
  // Directories whose time differs from umoci's by decision 0007; "*" skips umoci altogether.
  std::vector<std::string> other_time = {};
  // Layers that settle must hand back.
  int redone = 0;
  // Paths whose links overlayfs itself breaks against a plain directory, by decision 0008.
  std::vector<std::string> not_overlay = {};
  // Paths that umoci makes otherwise, by decision 0007.
  std::vector<std::string> not_umoci = {};
};

// Every stack starts with an entry for the root, which nobody else gives a defined time.
LayerItems base() {
  return {item_dir("./").time(1),
          item_dir("tmp").mode(01777).time(2),
          item_dir("home").time(3),
          item_dir("home/app").mode(0700).owner(1000, 1000).time(4, 5).xattr("user.x", "y"),
          item_file("home/app/old", "old").owner(1000, 1000),
          item_dir("usr").time(6),
          item_dir("usr/bin").time(7),
          item_file("usr/bin/tool", "tool").mode(0755),
          item_link("usr/bin/tool2", "usr/bin/tool"),
          item_symlink("bin", "usr/bin"),
          item_dir("etc").time(8),
          item_file("etc/passwd", "root"),
          item_dir("etc/d").time(9),
          item_file("etc/d/one", "1"),
          item_file("etc/d/two", "2")};
}

std::vector<Case> cases() {
  return {
      {"JustTheBase", {base()}},
      // What the design saw go wrong without settling.
      {"ImplicitDirectoriesKeepWhatTheLowersSay",
       {base(),
        {item_file("tmp/x", "x"), item_file("home/app/f", "f"), item_file("bin/foo", "foo")}}},
      {"ALinkToALowerFile",
       {base(), {item_link("usr/bin/alias", "usr/bin/tool2")}},
       {},
       0,
       {"usr/bin/alias", "usr/bin/tool", "usr/bin/tool2"}},
      {"ALinkToALowerSingleFile",
       {base(), {item_link("etc/shadow", "etc/passwd"), item_link("etc/third", "etc/shadow")}}},
      {"ALinkThroughALowerSymlink",
       {base(), {item_file("usr/bin/fresh"), item_link("linked", "bin/fresh")}}},
      {"ALinkToALowerFileThroughItsSymlink",
       {base(), {item_file("etc/x"), item_link("bin/pass", "etc/passwd")}}},
      {"AWhiteoutThatHidesNothing",
       {base(),
        {item_whiteout(".wh.nothing"), item_whiteout("etc/.wh.none"),
         item_whiteout("no/dir/.wh.x")}}},
      {"WhiteoutsOfFilesAndTrees",
       {base(),
        {item_whiteout("etc/.wh.passwd"), item_whiteout(".wh.home"),
         item_whiteout("bin/.wh.tool")}}},
      {"AWhiteoutOfASymlink", {base(), {item_whiteout(".wh.bin")}}},
      {"AWhiteoutBeforeTheNewSelf",
       {base(),
        {item_whiteout("etc/.wh.d"), item_dir("etc/d").time(50), item_file("etc/d/three", "3")}}},
      {"AWhiteoutAfterTheNewSelf",
       {base(),
        {item_dir("etc/d").time(50), item_file("etc/d/three", "3"), item_whiteout("etc/.wh.d")}},
       {"etc/d"}},
      {"AWhiteoutOfTheFileThatIsAdded",
       {base(), {item_file("etc/passwd", "new"), item_whiteout("etc/.wh.passwd")}}},
      {"AnOpaqueDirectoryFirst",
       {base(),
        {item_dir("etc/d").time(60), item_whiteout("etc/d/.wh..wh..opq"),
         item_file("etc/d/n", "n")}}},
      {"AnOpaqueDirectoryLast",
       {base(),
        {item_dir("etc/d").time(60), item_file("etc/d/n", "n"),
         item_whiteout("etc/d/.wh..wh..opq")}}},
      {"AnOpaqueDirectoryWithoutEntry", {base(), {item_whiteout("etc/d/.wh..wh..opq")}}},
      {"AnOpaqueRoot",
       {base(),
        {item_dir("./").time(70), item_whiteout(".wh..wh..opq"), item_dir("etc").time(71),
         item_file("etc/only", "o")}}},
      {"AnOpaqueDirectoryThroughASymlink",
       {base(), {item_whiteout("bin/.wh..wh..opq"), item_file("bin/new", "n")}}},
      {"OpaqueAfterUseIsHandedBack",
       {base(), {item_file("etc/d/f", "f"), item_whiteout("etc/.wh..wh..opq")}},
       {"etc/d"},
       1},
      {"UseThenReplaceIsHandedBack",
       {base(), {item_file("bin/f", "f"), item_dir("bin").time(80), item_file("bin/g", "g")}},
       {},
       1},
      {"ADirectoryReplacesASymlink", {base(), {item_dir("bin").time(80), item_file("bin/g", "g")}}},
      {"AFileReplacesADirectory", {base(), {item_file("etc/d", "file")}}},
      {"AFileThenADirectory",
       {base(),
        {item_file("etc/d", "file"), item_dir("etc/d").time(81), item_file("etc/d/x", "x")}}},
      {"ASymlinkReplacesADirectory",
       {base(), {item_symlink("etc/d", "../tmp"), item_file("etc/d/through", "t")}}},
      {"ADirectoryReplacesAFile",
       {base(), {item_dir("etc/passwd").time(82), item_file("etc/passwd/x", "x")}}},
      {"DuplicateEntries",
       {base(),
        {item_file("etc/passwd", "one").mode(0600),
         item_file("etc/passwd", "two").mode(0640).owner(3, 4),
         item_dir("new").mode(0700).xattr("user.a", "b"),
         item_dir("new").mode(0750).owner(5, 6).time(83)}}},
      {"AbsoluteAndDottedNames",
       {base(),
        {item_file("/etc/abs", "a"), item_file("./etc/./dot", "d"),
         item_file("etc/x/../up", "u")}}},
      {"SymlinksWithinALayer",
       {{item_dir("./"), item_symlink("a", "b/c"), item_dir("b").time(1), item_dir("b/c").time(2),
         item_file("a/f", "f"), item_symlink("abs", "/b"), item_file("abs/g", "g"),
         item_link("h", "a/f")}}},
      {"ChainsOfSymlinksAcrossLayers",
       {{item_dir("./"), item_dir("real").time(2), item_symlink("one", "real"),
         item_dir("dir").time(3)},
        {item_symlink("two", "one"), item_symlink("dir/up", "../two")},
        {item_file("two/f", "f"), item_file("dir/up/g", "g")}}},
      {"ADanglingSymlinkOnTheWay",
       {{item_dir("./"), item_symlink("data", "var/lib/data")}, {item_file("data/f", "f")}},
       {".", "var", "var/lib", "var/lib/data"}},
      {"DirectoriesNobodyListed",
       {{item_dir("./"), item_file("a/b/c", "c")},
        {item_file("a/b/d", "d"), item_file("x/y", "y")}},
       {".", "a", "a/b", "x"}},
      {"TwoLayersThroughOneSymlink",
       {base(),
        {item_file("bin/one", "1"), item_file("usr/bin/two", "2")},
        {item_file("bin/three", "3"), item_whiteout("bin/.wh.one")}}},
      {"MetadataOfADirectoryListedAgain",
       {base(), {item_dir("home/app").mode(02750).owner(7, 8).time(90)}}},
      {"SetGroupIdDirectoriesPassNothingOn",
       {{item_dir("./"), item_dir("g").mode(02775).owner(0, 50).time(3)},
        {item_file("g/f", "f"), item_dir("g/sub").time(4), item_file("g/imp/f", "f")}},
       {"g"},
       0,
       {},
       {"g/imp"}},
      {"EmptyLayersAndTheSameLayerTwice",
       {base(), {}, base(), {item_file("etc/x", "x")}, {item_file("etc/x", "x")}, {}}},
      {"AllAreDeletedAndMadeAgain",
       {base(),
        {item_whiteout(".wh.etc"), item_whiteout(".wh.usr")},
        {item_dir("etc").time(5), item_file("etc/new", "n")},
        {item_whiteout(".wh.etc")},
        {item_file("etc/late", "l")}},
       {".", "etc"}},
      {"AufsNamesAreSkipped",
       {base(),
        {item_dir(".wh..wh.plnk"), item_file(".wh..wh.aufs", "x"),
         item_file("etc/.wh..wh.orph", "x")}},
       {"*"}},
      {"ImplicitBelowAWhiteout",
       {base(), {item_whiteout(".wh.home"), item_file("home/app/f", "f")}},
       {".", "home", "home/app"}},
      {"XattrsOwnersAndBigIds",
       {base(),
        {item_file("etc/big", "b")
             .owner(4'000'000'000, 3'000'000'000)
             .xattr("user.k", "v")
             .xattr("trusted.t", "v"),
         item_file("etc/cap", "c")
             .xattr("security.capability",
                    std::string("\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20)),
         item_fifo("etc/fifo"), item_char("etc/null", 1, 3).mode(0666),
         item_symlink("etc/sl", "x").owner(9, 9)}}},
      {"NamesThatSortBetweenADirectoryAndItsContent",
       {base(),
        {item_file("etc/d-x", "x"), item_file("etc/d/three", "3"), item_file("etc/d.y", "y"),
         item_whiteout("etc/d/.wh.one")}}},
      {"ManyLayers",
       [] {
         std::vector<LayerItems> layers = {base()};
         for (int i = 0; i < 30; ++i)
           layers.push_back({item_file(fmt::format("home/app/f{}", i), "x"),
                             item_whiteout(fmt::format("home/app/.wh.f{}", i - 1)),
                             item_file("bin/tool", fmt::format("v{}", i))});
         return layers;
       }()},
  };
}

// Mounts are made in a namespace of this process's own, so that nothing stays and nobody sees.
bool own_mounts() {
  static const bool done = [] {
    return geteuid() == 0 && unshare(CLONE_NEWNS) == 0 &&
           mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
  }();
  return done;
}

class Stacks : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!own_mounts()) GTEST_SKIP() << "needs root and a mount namespace";
  }

  std::string fresh_dir(const std::string& name) {
    std::string path = temp_->path() / name;
    EXPECT_TRUE(sys::make_dir(path));
    return path;
  }

  // Each layer into its own directory, settled on those below; seen through an overlay mount.
  Result<Listing> parallel(const std::vector<std::string>& tars) {
    std::vector<StagedLayer> staged;
    std::vector<std::string> dirs;
    for (size_t i = 0; i < tars.size(); ++i) {
      dirs.push_back(fresh_dir(fmt::format("staged{}", i)));
      codec::MemoryWindow window(as_bytes(tars[i]));
      staged.push_back(
          SKIFF_TRY(applier_->apply_staged(context_, window, sys::open_dir(dirs[i])->get(), {})));
    }
    std::vector<std::string> lowers;  // topmost first
    for (size_t i = 0; i < tars.size(); ++i) {
      Status settled = applier_->settle(context_, staged[i], sys::open_dir(dirs[i])->get(), lowers);
      if (!settled && settled.error().is(Code::kFailedPrecondition)) {
        ++redone_;
        why_ = settled.error().message();
        dirs[i] = SKIFF_TRY(redo(i, tars[i], lowers));
      } else if (!settled) {
        return std::unexpected(settled.error());
      }
      lowers.insert(lowers.begin(), dirs[i]);
    }
    lowers.push_back(fresh_dir("nothing"));  // an overlay has two lowers at least
    std::string view = fresh_dir("view");
    mount_overlay(lowers, "", "", view);
    Listing listing = list_tree(view);
    EXPECT_EQ(umount2(view.c_str(), MNT_DETACH), 0);
    return listing;
  }

  // The mounted form, onto an overlay whose upper then is the layer.
  Result<std::string> redo(size_t i, const std::string& tar,
                           const std::vector<std::string>& lowers) {
    std::string upper = fresh_dir(fmt::format("redone{}", i)),
                view = fresh_dir(fmt::format("mount{}", i));
    EXPECT_TRUE(inherit_root(sys::open_dir(upper)->get(), lowers.front()));
    mount_overlay(lowers, upper, fresh_dir(fmt::format("work{}", i)), view);
    sys::MountGuard guard(view);
    codec::MemoryWindow window(as_bytes(tar));
    SKIFF_TRY(applier_->apply_mounted(context_, window, sys::open_dir(view)->get(), {}));
    return upper;
  }

  void mount_overlay(const std::vector<std::string>& lowers, const std::string& upper,
                     const std::string& work, const std::string& at) {
    std::string joined;
    for (const std::string& lower : lowers) joined += (joined.empty() ? "" : ":") + lower;
    std::vector<std::string> options = {"lowerdir=" + joined, "index=off"};
    if (!upper.empty()) options.insert(options.end(), {"upperdir=" + upper, "workdir=" + work});
    Status mounted = sys::mount("overlay", "overlay", options, at);
    ASSERT_TRUE(mounted) << mounted.error().message();
  }

  Result<Listing> serial(const std::vector<std::string>& tars) {
    std::string root = fresh_dir("serial");
    for (const std::string& tar : tars) {
      codec::MemoryWindow window(as_bytes(tar));
      SKIFF_TRY(applier_->apply_mounted(context_, window, sys::open_dir(root)->get(), {}));
    }
    return list_tree(root);
  }

  Listing umoci(const std::vector<std::string>& tars) {
    std::string image = fresh_dir("image"), root = temp_->path() / "umoci";
    EXPECT_TRUE(sys::make_dirs(image + "/blobs/sha256"));
    auto put = [&](const std::string& text, std::string_view type) {
      Digest digest = codec::digest_of(text);
      EXPECT_TRUE(sys::write_file(fmt::format("{}/blobs/sha256/{}", image, digest.hex()), text));
      return fmt::format(R"({{"mediaType":"{}","digest":"{}","size":{}}})", type, digest.str(),
                         text.size());
    };
    std::string layers, ids;
    for (const std::string& tar : tars) {
      layers += (layers.empty() ? "" : ",") + put(tar, "application/vnd.oci.image.layer.v1.tar");
      ids += fmt::format("{}\"{}\"", ids.empty() ? "" : ",", codec::digest_of(tar).str());
    }
    std::string config = put(
        fmt::format(
            R"({{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}})",
            ids),
        "application/vnd.oci.image.config.v1+json");
    std::string manifest =
        put(fmt::format(R"({{"schemaVersion":2,"config":{},"layers":[{}]}})", config, layers),
            "application/vnd.oci.image.manifest.v1+json");
    manifest.insert(manifest.size() - 1,
                    R"(,"annotations":{"org.opencontainers.image.ref.name":"latest"})");
    EXPECT_TRUE(sys::write_file(
        image + "/index.json", fmt::format(R"({{"schemaVersion":2,"manifests":[{}]}})", manifest)));
    EXPECT_TRUE(sys::write_file(image + "/oci-layout", R"({"imageLayoutVersion":"1.0.0"})"));
    std::string command = fmt::format("umoci raw unpack --image {}:latest {} >{}/umoci.log 2>&1",
                                      image, root, temp_->path().string());
    EXPECT_EQ(std::system(command.c_str()), 0)
        << sys::read_file(temp_->path() / "umoci.log").value_or("");
    return list_tree(root);
  }

  // "type mode owner time ..." without the time.
  static void leave_out_times(Listing& listing, const std::vector<std::string>& paths) {
    for (const std::string& path : paths) {
      auto it = listing.find(path);
      if (it == listing.end()) continue;
      size_t begin = 0;
      for (int i = 0; i < 3; ++i) begin = it->second.find(' ', begin) + 1;
      it->second.replace(begin, it->second.find(' ', begin) - begin, "*");
    }
  }
  static void leave_out(Listing& listing, const std::vector<std::string>& paths) {
    for (const std::string& path : paths) listing.erase(path);
  }

  void start_over() {
    temp_ = std::make_unique<sys::TempDir>();
    redone_ = 0;
    why_.clear();
  }

  std::unique_ptr<sys::TempDir> temp_ = std::make_unique<sys::TempDir>();
  Context context_;
  std::unique_ptr<Applier> applier_ = make_tar_applier();
  int redone_ = 0;
  std::string why_;
};

class LayerEquivalence : public Stacks, public ::testing::WithParamInterface<Case> {};

TEST_P(LayerEquivalence, ParallelSerialAndUmociAgree) {
  const Case& c = GetParam();
  std::vector<std::string> tars;
  for (const LayerItems& layer : c.layers) tars.push_back(layer_tar(layer));
  auto one_by_one = serial(tars);
  ASSERT_TRUE(one_by_one) << one_by_one.error().message();
  Listing serially = *one_by_one;
  auto side_by_side = parallel(tars);
  ASSERT_TRUE(side_by_side) << side_by_side.error().message();
  Listing in_parallel = *side_by_side;
  EXPECT_EQ(redone_, c.redone) << why_;
  Listing plain = serially;
  leave_out(plain, c.not_overlay);
  leave_out(in_parallel, c.not_overlay);
  EXPECT_TRUE(difference(plain, in_parallel).empty())
      << difference(plain, in_parallel) << "first: serial, second: parallel";
  if (c.other_time == std::vector<std::string>{"*"}) return;
  if (std::system("command -v umoci >/dev/null") != 0)
    GTEST_SKIP() << "umoci is not installed; parallel == serial holds";
  Listing theirs = umoci(tars);
  leave_out(serially, c.not_umoci);
  leave_out(theirs, c.not_umoci);
  leave_out_times(serially, c.other_time);
  leave_out_times(theirs, c.other_time);
  EXPECT_TRUE(difference(serially, theirs).empty())
      << difference(serially, theirs) << "first: serial, second: umoci";
}

INSTANTIATE_TEST_SUITE_P(Cases, LayerEquivalence, ::testing::ValuesIn(cases()),
                         [](auto& info) { return std::string(info.param.name); });

// Small names, so that entries meet: files, directories, links of both kinds and whiteouts in any
// order.
LayerItems random_layer(std::mt19937& random) {
  auto pick = [&](size_t n) { return static_cast<size_t>(random() % n); };
  auto name = [&] {
    std::string path;
    for (size_t i = pick(3) + 1; i > 0; --i)
      path += (path.empty() ? "" : "/") + std::string(1, static_cast<char>('a' + pick(3)));
    return path;
  };
  LayerItems items;
  if (pick(2) == 0) items.push_back(item_dir("./").time(static_cast<int64_t>(pick(100))));
  for (size_t i = pick(7) + 1; i > 0; --i) {
    std::string path = name();
    std::string folder =
        path.substr(0, path.rfind('/') == std::string::npos ? 0 : path.rfind('/') + 1);
    std::string base = path.substr(folder.size());
    switch (pick(11)) {
      case 0:
      case 1:
      case 2:
        items.push_back(
            item_file(path, std::to_string(random())).time(static_cast<int64_t>(pick(100))));
        break;
      case 3:
      case 4:
        items.push_back(item_dir(path)
                            .mode(0700 + static_cast<uint32_t>(pick(64)))
                            .time(static_cast<int64_t>(pick(100))));
        break;
      case 5: items.push_back(item_symlink(path, name())); break;
      case 6: items.push_back(item_symlink(path, (pick(2) ? "/" : "../") + name())); break;
      case 7: items.push_back(item_link(path, name())); break;
      case 8:
      case 9: items.push_back(item_whiteout(folder + ".wh." + base)); break;
      default: items.push_back(item_whiteout(folder + ".wh..wh..opq")); break;
    }
  }
  return items;
}

std::string shown_layer(const LayerItems& items) {
  std::string text;
  for (const Item& item : items)
    text += fmt::format("    {} {} {}\n", codec::tar::entry_type_name(item.entry.type),
                        item.entry.name, item.entry.link_name);
  return text;
}

// Whatever the serial form makes of a stack, the parallel one makes the same, or refuses it too.
class RandomStacks : public Stacks, public ::testing::WithParamInterface<unsigned> {};

TEST_P(RandomStacks, ParallelAndSerialAgree) {
  // SKIFF_STACKS=500 looks longer.
  const char* more = std::getenv("SKIFF_STACKS");
  unsigned count = more != nullptr ? static_cast<unsigned>(std::atoi(more)) : 12;
  unsigned agreed = 0;
  for (unsigned seed = GetParam() * 1000; seed < GetParam() * 1000 + count; ++seed) {
    std::mt19937 random(seed);
    std::vector<std::string> tars = {layer_tar({item_dir("./")})};
    std::string shown;
    for (size_t i = 2 + random() % 3; i > 0; --i) {
      LayerItems items = random_layer(random);
      tars.push_back(layer_tar(items));
      shown += "  layer:\n" + shown_layer(items);
    }
    auto one_by_one = serial(tars);
    // A stack that is refused is cut to what comes before.
    while (!one_by_one) {
      ASSERT_TRUE(one_by_one.error().is(Code::kInvalidArgument)) << one_by_one.error().message();
      start_over();
      auto refused = parallel(tars);
      EXPECT_FALSE(refused) << "seed " << seed << ": serial says " << one_by_one.error().message()
                            << "\n"
                            << shown;
      tars.pop_back();
      start_over();
      one_by_one = serial(tars);
    }
    auto side_by_side = parallel(tars);
    ASSERT_TRUE(side_by_side) << "seed " << seed << ": " << side_by_side.error().message() << "\n"
                              << shown;
    // overlayfs breaks hard links when it copies up (decision 0008).
    for (Listing* listing : {&*one_by_one, &*side_by_side})
      for (auto& [path, line] : *listing) line = line.substr(0, line.find(" same as "));
    ASSERT_TRUE(difference(*one_by_one, *side_by_side).empty())
        << "seed " << seed << " (" << why_ << ")\n"
        << difference(*one_by_one, *side_by_side) << shown;
    agreed += redone_ == 0;
    start_over();
  }
  EXPECT_GT(agreed, count / 2);  // most need no second pass
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomStacks, ::testing::Range(0u, 4u));

}  // namespace
}  // namespace skiff::layer
