#include "metadata/gc.h"

#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "metadata/store_fixture.h"

namespace skiff::metadata {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

constexpr char kExpire[] = "containerd.io/gc.expire";
constexpr char kPast[] = "2001-01-01T00:00:00Z";
constexpr char kFuture[] = "2200-01-01T00:00:00Z";

class GcTest : public StoreFixture {
 protected:
  static Labels content_ref(char hex) {
    return {{"containerd.io/gc.ref.content.0", digest(hex).str()}};
  }
  Status put_blob(Transaction& txn, char hex, Labels labels = {}, const std::string& lease = "",
                  const std::string& ns = "a") {
    return blobs::put(txn, ns, {.digest = digest(hex), .size = 1, .labels = std::move(labels)},
                      lease);
  }
  Status put_image(Transaction& txn, const std::string& name, char hex, Labels labels = {}) {
    return images::put(
        txn, "a",
        {.name = name, .target = "{}", .digest = digest(hex), .labels = std::move(labels)});
  }
  Status layer(Transaction& txn, const std::string& name, const std::string& parent = "",
               Labels labels = {}, const std::string& lease = "") {
    SKIFF_TRY(snapshots::create(
        txn, "a", {.snapshotter = "overlayfs", .key = "work", .parent = parent}, lease));
    return snapshots::commit(txn, "a", "overlayfs", "work", {.name = name, .labels = labels},
                             lease);
  }
  void must(std::function<Status(Transaction&)> fn) { SKIFF_ASSERT_OK(write(std::move(fn))); }
  GcStats must_collect() {
    auto stats = collect(context_, *store_);
    EXPECT_TRUE(stats) << stats.error().message();
    return stats.value_or(GcStats{});
  }
  // What is left: blobs by their digit, snapshots by key, ingests by ref, leases and images by
  // name.
  std::vector<std::string> left() {
    std::vector<std::string> names;
    SKIFF_MUST(read([&](Reader& r) -> Status {
      for (auto& blob : SKIFF_TRY(blobs::list(r, "a", {})))
        names.emplace_back(1, blob.digest.hex().front());
      for (auto& snapshot : SKIFF_TRY(snapshots::list(r, "a", "overlayfs", {})))
        names.push_back(snapshot.key);
      for (auto& ingest : SKIFF_TRY(ingests::list(r, "a"))) names.push_back(ingest.ref);
      for (auto& lease : SKIFF_TRY(leases::list(r, "a", {}))) names.push_back(lease.id);
      for (auto& image : SKIFF_TRY(images::list(r, "a", {}))) names.push_back(image.name);
      return ok();
    }));
    return names;
  }
  static void SKIFF_MUST(const Status& status) { EXPECT_TRUE(status) << status.error().message(); }
};

TEST_F(GcTest, AnImageKeepsItsGraphAndNothingElse) {
  must([&](Transaction& txn) -> Status {
    SKIFF_TRY(put_blob(txn, '1',
                       {{"containerd.io/gc.ref.content.config", digest('2').str()},
                        {"containerd.io/gc.ref.content.l.0", digest('3').str()}}));
    SKIFF_TRY(put_blob(txn, '2', {{"containerd.io/gc.ref.snapshot.overlayfs", "top"}}));
    SKIFF_TRY(put_blob(txn, '3'));
    SKIFF_TRY(put_blob(txn, '4'));
    SKIFF_TRY(layer(txn, "base"));
    SKIFF_TRY(layer(txn, "top", "base"));
    SKIFF_TRY(layer(txn, "other", "base"));
    return put_image(txn, "image", '1');
  });
  GcStats stats = must_collect();
  EXPECT_EQ(stats.blobs, 1u);
  EXPECT_EQ(stats.snapshots, 1u);
  EXPECT_THAT(left(), ElementsAre("1", "2", "3", "base", "top", "image"));
  must([](Transaction& txn) { return images::remove(txn, "a", "image"); });
  stats = must_collect();
  EXPECT_EQ(stats.blobs, 3u);
  EXPECT_EQ(stats.snapshots, 2u);
  EXPECT_THAT(left(), IsEmpty());
}

TEST_F(GcTest, BytesStayWhileAnotherNamespaceNamesThem) {
  must([&](Transaction& txn) -> Status {
    SKIFF_TRY(put_blob(txn, '1'));
    SKIFF_TRY(put_blob(txn, '1', {}, "", "b"));
    return images::put(txn, "b", {.name = "i", .target = "{}", .digest = digest('1')});
  });
  must_collect();
  EXPECT_THAT(left(), IsEmpty());
  EXPECT_EQ(code([](Reader& r) { return blobs::get(r, "b", digest('1')); }), Code::kOk);
  EXPECT_THAT(get([](Reader& r) { return tombstones::list(r); }), IsEmpty());
}

TEST_F(GcTest, LeasesHoldUntilTheyExpireOrGo) {
  must([&](Transaction& txn) -> Status {
    SKIFF_TRY(leases::create(txn, "a", {.id = "forever"}));
    SKIFF_TRY(leases::create(txn, "a", {.id = "later", .labels = {{kExpire, kFuture}}}));
    SKIFF_TRY(leases::create(txn, "a", {.id = "past", .labels = {{kExpire, kPast}}}));
    SKIFF_TRY(put_blob(txn, '1', {}, "forever"));
    SKIFF_TRY(put_blob(txn, '2', {}, "later"));
    SKIFF_TRY(put_blob(txn, '3', {}, "past"));
    SKIFF_TRY(put_blob(txn, '4', {}, "past"));
    SKIFF_TRY(layer(txn, "held", "", {}, "later"));
    SKIFF_TRY(ingests::put(txn, "a", {.id = "f1", .ref = "kept"}, "forever"));
    SKIFF_TRY(ingests::put(txn, "a", {.id = "f2", .ref = "gone"}, "past"));
    return put_image(txn, "image", '4');
  });
  GcStats stats = must_collect();
  EXPECT_EQ(stats.leases, 1u);
  EXPECT_EQ(stats.ingests, 1u);
  EXPECT_THAT(left(),
              UnorderedElementsAre("1", "2", "4", "held", "kept", "forever", "later", "image"));
  must([](Transaction& txn) { return leases::remove(txn, "a", "forever"); });
  must_collect();
  EXPECT_THAT(left(), UnorderedElementsAre("2", "4", "held", "later", "image"));
}

TEST_F(GcTest, AFlatLeaseHoldsParentsButNotWhatLabelsPointAt) {
  must([&](Transaction& txn) -> Status {
    SKIFF_TRY(leases::create(txn, "a", {.id = "flat", .labels = {{"containerd.io/gc.flat", "1"}}}));
    SKIFF_TRY(put_blob(txn, '2'));
    SKIFF_TRY(put_blob(txn, '1', content_ref('2'), "flat"));
    SKIFF_TRY(layer(txn, "base"));
    return layer(txn, "top", "base", {}, "flat");
  });
  must_collect();
  EXPECT_THAT(left(), ElementsAre("1", "base", "top", "flat"));
  // What a flat lease holds counts in full once something else holds it, too.
  must([&](Transaction& txn) -> Status {
    SKIFF_TRY(put_blob(txn, '2'));
    return put_image(txn, "image", '1');
  });
  must_collect();
  EXPECT_THAT(left(), ElementsAre("1", "2", "base", "top", "flat", "image"));
}

TEST_F(GcTest, ALeaseMayHoldAnotherThatHasExpired) {
  must([&](Transaction& txn) -> Status {
    SKIFF_TRY(leases::create(txn, "a", {.id = "outer"}));
    SKIFF_TRY(leases::create(txn, "a", {.id = "inner", .labels = {{kExpire, kPast}}}));
    SKIFF_TRY(put_blob(txn, '1', {}, "inner"));
    return leases::add_resource(txn, "a", "outer", {"leases", "inner"});
  });
  must_collect();
  EXPECT_THAT(left(), ElementsAre("1", "inner", "outer"));
}

TEST_F(GcTest, RootLabelsAndContainersAreRoots) {
  must([&](Transaction& txn) -> Status {
    SKIFF_TRY(put_blob(
        txn, '1',
        {{"containerd.io/gc.root", "now"}, {"containerd.io/gc.ref.content", digest('2').str()}}));
    SKIFF_TRY(put_blob(txn, '2'));
    SKIFF_TRY(layer(txn, "rooted", "", {{"containerd.io/gc.root", ""}}));
    SKIFF_TRY(layer(txn, "base"));
    SKIFF_TRY(snapshots::create(txn, "a",
                                {.snapshotter = "overlayfs", .key = "rw", .parent = "base"}, ""));
    SKIFF_TRY(put_blob(txn, '3'));
    return containers::create(
        txn, "a",
        {.id = "c", .snapshotter = "overlayfs", .snapshot_key = "rw", .labels = content_ref('3')});
  });
  must_collect();
  EXPECT_THAT(left(), ElementsAre("1", "2", "3", "base", "rooted", "rw"));
  must([&](Transaction& txn) -> Status {
    SKIFF_TRY(blobs::set_labels(txn, "a", digest('1'), content_ref('2')));
    return containers::remove(txn, "a", "c");
  });
  must_collect();
  EXPECT_THAT(left(), ElementsAre("rooted"));
}

TEST_F(GcTest, AnExpiredImageGoesWithWhatItKept) {
  must([&](Transaction& txn) -> Status {
    SKIFF_TRY(put_blob(txn, '1'));
    SKIFF_TRY(put_blob(txn, '2'));
    SKIFF_TRY(put_image(txn, "old", '1', {{kExpire, kPast}}));
    return put_image(txn, "new", '2', {{kExpire, kFuture}});
  });
  EXPECT_EQ(must_collect().images, 1u);
  EXPECT_THAT(left(), ElementsAre("2", "new"));
}

TEST_F(GcTest, IngestsWithoutALeaseAreKeptForADay) {
  constexpr Time kHour = int64_t{3600} * 1'000'000'000;
  must([&](Transaction& txn) -> Status {
    SKIFF_TRY(
        ingests::put(txn, "a", {.id = "f1", .ref = "fresh", .updated = now() - 23 * kHour}, ""));
    return ingests::put(txn, "a", {.id = "f2", .ref = "stale", .updated = now() - 25 * kHour}, "");
  });
  EXPECT_EQ(must_collect().ingests, 1u);
  EXPECT_THAT(left(), ElementsAre("fresh"));
  EXPECT_EQ(get([](Reader& r) { return tombstones::list(r); }).front().path, "content/ingest/f2");
}

TEST_F(GcTest, RingsAndLongChainsAreCollected) {
  must([&](Transaction& txn) -> Status {
    SKIFF_TRY(put_blob(txn, '1', content_ref('2')));
    SKIFF_TRY(put_blob(txn, '2', content_ref('1')));
    std::string parent;
    for (int i = 0; i < 127; ++i) {
      // Names in an order that is not the chain's.
      std::string name = fmt::format("{:03}", (i * 50) % 127);
      SKIFF_TRY(layer(txn, name, parent));
      parent = name;
    }
    return ok();
  });
  GcStats stats = must_collect();
  EXPECT_EQ(stats.blobs, 2u);
  EXPECT_EQ(stats.snapshots, 127u);
  EXPECT_EQ(stats.kept, 0u);
  EXPECT_THAT(left(), IsEmpty());
}

// The races: work that happens between the mark and the sweep. The sweep's transactions come after
// whatever was written while the mark's read ran, so a write made by a hook within it is the race.
class GcRaceTest : public GcTest {
 protected:
  // A store that runs `between_` once, after the mark's read has ended.
  class Hooked : public Store {
   public:
    explicit Hooked(Store& store) : store_(store) {}
    Status write(const Context& context, const CrashPoint& point, Durability durability,
                 std::function<Status(Transaction&)> fn) override {
      return store_.write(context, point, durability, std::move(fn));
    }
    Status read(const Context& context, std::function<Status(Reader&)> fn) override {
      Status status = store_.read(context, std::move(fn));
      if (auto hook = std::exchange(between, nullptr)) hook();
      return status;
    }
    Status flush(const Context& context) override { return store_.flush(context); }
    uint64_t generation() const override { return store_.generation(); }
    const std::string& boot_id() const override { return store_.boot_id(); }
    bool failed() const override { return store_.failed(); }

    std::function<void()> between;

   private:
    Store& store_;
  };

  // Everything below is garbage at the mark: a chain of layers and a graph of blobs.
  void SetUp() override {
    GcTest::SetUp();
    must([&](Transaction& txn) -> Status {
      SKIFF_TRY(put_blob(txn, '1', content_ref('2')));
      SKIFF_TRY(put_blob(txn, '2', content_ref('3')));
      SKIFF_TRY(put_blob(txn, '3'));
      SKIFF_TRY(layer(txn, "base"));
      return layer(txn, "top", "base");
    });
  }
  GcStats collect_with(std::function<Status(Transaction&)> race) {
    Hooked hooked(*store_);
    hooked.between = [&] { must(race); };
    auto stats = collect(context_, hooked);
    EXPECT_TRUE(stats) << stats.error().message();
    return stats.value_or(GcStats{});
  }
};

TEST_F(GcRaceTest, NothingHappens) {
  EXPECT_EQ(collect_with([](Transaction&) { return ok(); }).blobs, 3u);
  EXPECT_THAT(left(), IsEmpty());
}

TEST_F(GcRaceTest, ABlobIsPutAgain) {
  GcStats stats = collect_with([&](Transaction& txn) { return put_blob(txn, '2'); });
  EXPECT_EQ(stats.kept, 2u);
  EXPECT_THAT(left(), ElementsAre("2", "3")) << "with what it points at";
}

TEST_F(GcRaceTest, ALeaseIsAdded) {
  collect_with([&](Transaction& txn) -> Status {
    SKIFF_TRY(leases::create(txn, "a", {.id = "l"}));
    SKIFF_TRY(leases::add_resource(txn, "a", "l", {"content", digest('1').str()}));
    return leases::add_resource(txn, "a", "l", {"snapshots/overlayfs", "top"});
  });
  EXPECT_THAT(left(), ElementsAre("1", "2", "3", "base", "top", "l"));
  must_collect();
  EXPECT_THAT(left(), ElementsAre("1", "2", "3", "base", "top", "l"));
}

TEST_F(GcRaceTest, AnImageIsMade) {
  collect_with([&](Transaction& txn) {
    return put_image(txn, "i", '1', {{"containerd.io/gc.ref.snapshot.overlayfs", "top"}});
  });
  EXPECT_THAT(left(), ElementsAre("1", "2", "3", "base", "top", "i"));
}

TEST_F(GcRaceTest, AnEdgeIsLabelledOntoARowThatLives) {
  must([&](Transaction& txn) -> Status {
    SKIFF_TRY(put_blob(txn, '9'));
    return put_image(txn, "i", '9');
  });
  collect_with(
      [&](Transaction& txn) { return blobs::set_labels(txn, "a", digest('9'), content_ref('2')); });
  EXPECT_THAT(left(), ElementsAre("2", "3", "9", "i"));
}

TEST_F(GcRaceTest, AnEdgeMovesUpTheGraph) {
  // The image lets go of 9, which kept 8, and 7, garbage till then, takes 8 over.
  must([&](Transaction& txn) -> Status {
    SKIFF_TRY(put_blob(txn, '8'));
    SKIFF_TRY(put_blob(txn, '7'));
    return put_blob(txn, '9');
  });
  collect_with([&](Transaction& txn) -> Status {
    SKIFF_TRY(put_image(txn, "i", '7'));
    return blobs::set_labels(txn, "a", digest('7'), content_ref('8'));
  });
  EXPECT_THAT(left(), ElementsAre("7", "8", "i"));
}

TEST_F(GcRaceTest, AChildIsPrepared) {
  GcStats stats = collect_with([&](Transaction& txn) -> Status {
    SKIFF_TRY(snapshots::create(txn, "a",
                                {.snapshotter = "overlayfs", .key = "rw", .parent = "top"}, ""));
    return ok();
  });
  EXPECT_EQ(stats.snapshots, 0u);
  EXPECT_THAT(left(), ElementsAre("base", "rw", "top"));
}

TEST_F(GcRaceTest, TheRowsAreGoneAlready) {
  GcStats stats = collect_with([&](Transaction& txn) -> Status {
    SKIFF_TRY(blobs::remove(txn, "a", digest('1')));
    return snapshots::remove(txn, "a", "overlayfs", "top");
  });
  EXPECT_EQ(stats.blobs, 2u);
  EXPECT_EQ(stats.snapshots, 1u);
  EXPECT_THAT(left(), IsEmpty());
}

TEST_F(GcRaceTest, AnImageGoesMidWayAndIsLeftToTheNextCollection) {
  must([&](Transaction& txn) { return put_image(txn, "i", '1'); });
  EXPECT_EQ(collect_with([](Transaction& txn) { return images::remove(txn, "a", "i"); }).blobs, 0u);
  EXPECT_THAT(left(), ElementsAre("1", "2", "3"));
  EXPECT_EQ(must_collect().blobs, 3u);
}

TEST_F(GcRaceTest, AnExpiredLeaseIsRenewedByAnotherWithItsResources) {
  must([&](Transaction& txn) -> Status {
    SKIFF_TRY(leases::create(txn, "a", {.id = "old", .labels = {{kExpire, kPast}}}));
    return leases::add_resource(txn, "a", "old", {"content", digest('3').str()});
  });
  collect_with([&](Transaction& txn) -> Status {
    SKIFF_TRY(leases::create(txn, "a", {.id = "new"}));
    return leases::add_resource(txn, "a", "new", {"content", digest('3').str()});
  });
  EXPECT_THAT(left(), ElementsAre("3", "new"));
}

TEST_F(GcRaceTest, AFailedSweepIsAnErrorAndTheNextOneGoesOn) {
  std::stop_source stop;
  Hooked hooked(*store_);
  hooked.between = [&] { stop.request_stop(); };
  auto stats = collect(context_.with_stop(stop.get_token()), hooked);
  ASSERT_FALSE(stats);
  EXPECT_EQ(stats.error().code(), Code::kCanceled);
  EXPECT_EQ(must_collect().blobs, 3u);
}

// Pulls beside collections in a loop: at no moment may an image be incomplete.
TEST_F(GcTest, CollectionsBesideWorkTakeNothingThatIsNeeded) {
  std::atomic<bool> stop = false;
  std::atomic<int> collections = 0;
  std::jthread collector([&] {
    while (!stop) {
      must_collect();
      collections++;
    }
  });
  auto pull = [&](int thread) {
    for (int round = 0; round < 40 || (collections < 5 && round < 4000); ++round) {
      std::string name = fmt::format("image-{}", thread);
      std::string lease = fmt::format("lease-{}", thread);
      std::string layer_name = fmt::format("layer-{}-{}", thread, round);
      char manifest = static_cast<char>('a' + thread);
      must([&](Transaction& txn) { return leases::create(txn, "a", {.id = lease}); });
      must([&](Transaction& txn) { return put_blob(txn, '1', {}, lease); });  // shared by all
      must([&](Transaction& txn) { return layer(txn, layer_name, "", {}, lease); });
      must([&](Transaction& txn) {
        Labels labels = content_ref('1');
        labels["containerd.io/gc.ref.snapshot.overlayfs"] = layer_name;
        return put_blob(txn, manifest, labels, lease);
      });
      must([&](Transaction& txn) { return put_image(txn, name, manifest); });
      must([&](Transaction& txn) { return leases::remove(txn, "a", lease); });
      for (auto digit : {manifest, '1'})
        EXPECT_EQ(code([&](Reader& r) { return blobs::get(r, "a", digest(digit)); }), Code::kOk);
      EXPECT_EQ(code([&](Reader& r) { return snapshots::get(r, "a", "overlayfs", layer_name); }),
                Code::kOk);
      must([&](Transaction& txn) { return images::remove(txn, "a", name); });
    }
  };
  std::vector<std::jthread> pullers;
  for (int i = 0; i < 4; ++i) pullers.emplace_back(pull, i);
  pullers.clear();
  stop = true;
  collector.join();
  must_collect();
  EXPECT_THAT(left(), IsEmpty());
}

class TombstoneTest : public GcTest {
 protected:
  std::vector<std::string> swept_;
  std::string failing_;

  Status sweep() {
    return sweep_tombstones(context_, *store_,
                            [&](const std::string& kind, const std::string& path) -> Status {
                              if (path == failing_) return fail(Code::kUnavailable, "busy");
                              swept_.push_back(kind + " " + path);
                              return ok();
                            });
  }
};

TEST_F(TombstoneTest, AreSweptOnceAndKeptWhereRemovingFails) {
  must([](Transaction& txn) -> Status {
    SKIFF_TRY(tombstones::put(txn, "blob", "x"));
    SKIFF_TRY(tombstones::put(txn, "snapshot", "overlayfs/1"));
    return tombstones::put(txn, "ingest", "y");
  });
  failing_ = "overlayfs/1";
  EXPECT_EQ(code_of(sweep()), Code::kUnavailable);
  EXPECT_THAT(swept_, ElementsAre("blob x", "ingest y"));
  failing_.clear();
  SKIFF_ASSERT_OK(sweep());
  EXPECT_THAT(swept_, ElementsAre("blob x", "ingest y", "snapshot overlayfs/1"));
  SKIFF_ASSERT_OK(sweep());
  EXPECT_EQ(swept_.size(), 3u);
}

TEST_F(TombstoneTest, MayBeTakenAwayWhileTheyAreSwept) {
  must([&](Transaction& txn) -> Status {
    SKIFF_TRY(put_blob(txn, '1'));
    return blobs::remove(txn, "a", digest('1'));
  });
  SKIFF_ASSERT_OK(sweep_tombstones(context_, *store_, [&](const std::string&, const std::string&) {
    return write([&](Transaction& txn) { return put_blob(txn, '1'); });
  }));
  EXPECT_THAT(get([](Reader& r) { return tombstones::list(r); }), IsEmpty());
}

}  // namespace
}  // namespace skiff::metadata
