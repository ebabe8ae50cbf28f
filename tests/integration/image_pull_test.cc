// Pulls with real parts against a registry in this process: the good ways, and the bad days.
#include <atomic>
#include <latch>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/log.h"
#include "image/image_service.h"
#include "tests/lib/fake_registry.h"
#include "tests/lib/image_house.h"
#include "tests/lib/layer_builder.h"

namespace skiff::testing {
namespace {

using image::PullResult;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kManifestType[] = "application/vnd.oci.image.manifest.v1+json";
constexpr char kIndexType[] = "application/vnd.oci.image.index.v1+json";

// Three layers that need each other: folders of the first changed and hidden by the others.
std::vector<std::string> three_tars() {
  return {LayerBuilder()
              .folder("bin")
              .file("bin/tool", noise(300'000), 0755)
              .folder("etc", 0750)
              .file("etc/hosts", "one")
              .folder("tmp", 01777)
              .tar(),
          LayerBuilder().file("etc/hosts", "two").file("tmp/x", "x").tar(),
          LayerBuilder().whiteout("bin/tool").symlink("bin/sh", "/bin/tool").tar()};
}

std::vector<std::string> gzipped(const std::vector<std::string>& tars) {
  std::vector<std::string> blobs;
  for (const std::string& tar : tars) blobs.push_back(compressed(tar, codec::Compression::kGzip));
  return blobs;
}

class ImagePull : public ::testing::Test {
 protected:
  std::string serve(const std::string& name, const std::vector<std::string>& tars) {
    return registry.add_image(name, "latest", image_config(tars), gzipped(tars));
  }
  // The pull fails with that code, shows nothing, leaves nothing, and works once the cause is gone.
  void expect_failure(const std::string& name, Code code, const std::string& text) {
    auto result = house.pull(registry, name);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code(), code) << result.error().message();
    EXPECT_THAT(result.error().message(), HasSubstr(text));
    EXPECT_THAT(house.images().list(Context(), {}).value(), IsEmpty());
    house.collect();
    EXPECT_THAT(house.leftovers(), IsEmpty());
  }
  void expect_works_now(const std::string& name) {
    registry.clear_faults();
    auto again = house.pull(registry, name);
    EXPECT_TRUE(again) << again.error().message();
  }

  FakeRegistry registry;
  ImageHouse house;
};

TEST_F(ImagePull, MakesTheTreeVisibleAndFetchesEachByteOnce) {
  auto tars = three_tars();
  serve("app", tars);
  auto result = house.pull(registry, "app");
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(result->layers, 3u);
  EXPECT_THAT(house.tree(result->chain_id),
              ::testing::ElementsAre("bin d 755", "bin/sh l /bin/tool", "etc d 750",
                                     "etc/hosts f 644 two", "tmp d 1777", "tmp/x f 644 x"));
  for (const std::string& blob : gzipped(tars))
    EXPECT_EQ(registry.bytes_served(sha256_of(blob)), blob.size());
  house.collect();
  EXPECT_THAT(house.leftovers(), IsEmpty());
  EXPECT_EQ(house.images().list(Context(), {})->size(), 1u);
}

TEST_F(ImagePull, ASecondPullIsUpToDateAndAsksForNoBlob) {
  serve("app", three_tars());
  ASSERT_TRUE(house.pull(registry, "app"));
  const int before = registry.count("GET", "");
  auto again = house.pull(registry, "app");
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->up_to_date);
  EXPECT_LE(registry.count("GET", "") - before, 2);
}

TEST_F(ImagePull, ZstdAndPlainLayersWorkToo) {
  auto tars = three_tars();
  std::vector<std::string> blobs{compressed(tars[0], codec::Compression::kZstd), tars[1],
                                 compressed(tars[2], codec::Compression::kGzip)};
  registry.add_image("app", "latest", image_config(tars), blobs);
  auto result = house.pull(registry, "app");
  ASSERT_TRUE(result) << result.error().message();
}

TEST_F(ImagePull, ABigBlobComesInPiecesOverSeveralConnections) {
  std::vector<std::string> tars{LayerBuilder().file("big", noise(40 << 20)).tar()};
  serve("big", tars);
  auto result = house.pull(registry, "big");
  ASSERT_TRUE(result) << result.error().message();
  const std::string digest = sha256_of(gzipped(tars)[0]);
  EXPECT_EQ(registry.bytes_served(digest), gzipped(tars)[0].size());
  std::set<int> connections;
  for (const auto& seen : registry.seen())
    if (seen.path.ends_with(digest)) connections.insert(seen.connection);
  EXPECT_GT(connections.size(), 1u);
}

TEST_F(ImagePull, TwentyAtOnceCostOneDownloadAndOneUnpack) {
  auto tars = three_tars();
  serve("app", tars);
  std::vector<Result<PullResult>> results(20, PullResult());
  {
    std::vector<std::jthread> threads;
    for (auto& result : results)
      threads.emplace_back([&] { result = house.pull(registry, "app"); });
  }
  for (auto& result : results) EXPECT_TRUE(result) << result.error().message();
  for (const std::string& blob : gzipped(tars))
    EXPECT_EQ(registry.bytes_served(sha256_of(blob)), blob.size());
  int committed = 0;
  ASSERT_TRUE(house.snapshotter().walk(Context(), {}, [&](const auto&) {
    ++committed;
    return ok();
  }));
  EXPECT_EQ(committed, 3);
}

TEST_F(ImagePull, TheLeaderOfTwentyMayBeCancelled) {
  auto tars = three_tars();
  serve("app", tars);
  // The first download stalls until the fetcher's own time-out ends it.
  registry.inject({.method = "GET", .path = sha256_of(gzipped(tars)[0]), .hang_after = 1000});
  std::stop_source stop_leader;
  Result<PullResult> leader = PullResult();
  std::vector<Result<PullResult>> others(19, PullResult());
  {
    std::jthread first([&] {
      leader = house.pull(registry, "app", nullptr, Context().with_stop(stop_leader.get_token()));
    });
    while (registry.count("GET", sha256_of(gzipped(tars)[0])) == 0) std::this_thread::yield();
    std::vector<std::jthread> threads;
    for (auto& other : others) threads.emplace_back([&] { other = house.pull(registry, "app"); });
    while (registry.count("", "/manifests/latest") < 20) std::this_thread::yield();
    stop_leader.request_stop();
    first.join();
    EXPECT_FALSE(leader);
  }
  EXPECT_EQ(leader.error().code(), Code::kCanceled);
  for (auto& other : others) EXPECT_TRUE(other) << other.error().message();
}

TEST_F(ImagePull, ImagesShareTheLayersTheyHaveInCommon) {
  auto tars = three_tars();
  serve("app", tars);
  auto more = tars;
  more.push_back(LayerBuilder().file("more", "m").tar());
  serve("more", more);
  ASSERT_TRUE(house.pull(registry, "app"));
  auto result = house.pull(registry, "more");
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(result->layers_present, 3u);
  EXPECT_EQ(registry.bytes_served(sha256_of(gzipped(tars)[0])), gzipped(tars)[0].size());
}

TEST_F(ImagePull, AnotherNamespaceSharesTheBytesAndHasItsOwnName) {
  serve("app", three_tars());
  ASSERT_TRUE(house.pull(registry, "app"));
  const Context other = Context().with_namespace("other");
  EXPECT_THAT(house.images().list(other, {}).value(), IsEmpty());
  auto result = house.pull(registry, "app", nullptr, other);
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(result->fetched_bytes, 0u);
  EXPECT_EQ(result->layers_present, 3u);
  ASSERT_TRUE(house.images().remove(Context(), result->image.name));
  house.collect();
  EXPECT_THAT(house.tree(result->chain_id, other), ::testing::SizeIs(6));
}

TEST_F(ImagePull, RemovedImagesLeaveNothingAfterCollection) {
  serve("app", three_tars());
  auto result = house.pull(registry, "app");
  ASSERT_TRUE(result);
  EXPECT_TRUE(house.images().remove(Context(), result->image.name)->last);
  house.collect();
  EXPECT_THAT(house.leftovers(), IsEmpty());
  EXPECT_THAT(sys::list_dir(house.root() / "content/blobs/sha256").value(), IsEmpty());
  EXPECT_THAT(sys::list_dir(house.root() / "snapshots/overlay").value(), IsEmpty());
}

// --- what is not what its digest says -----------------------------------------------------------
TEST_F(ImagePull, AWrongBlobIsRefused) {
  auto tars = three_tars();
  serve("app", tars);
  registry.inject({.path = sha256_of(gzipped(tars)[1]), .times = -1, .corrupt = true});
  expect_failure("app", Code::kDataLoss, "sha256:");
  expect_works_now("app");
}

TEST_F(ImagePull, AWrongConfigurationIsRefused) {
  auto tars = three_tars();
  serve("app", tars);
  registry.inject({.path = sha256_of(image_config(tars)), .times = -1, .corrupt = true});
  expect_failure("app", Code::kDataLoss, "");
  expect_works_now("app");
}

TEST_F(ImagePull, AWrongDiffIdIsRefused) {
  auto tars = three_tars();
  auto lies = tars;
  lies[1] = LayerBuilder().file("other", "o").tar();
  registry.add_image("app", "latest", image_config(lies), gzipped(tars));
  expect_failure("app", Code::kDataLoss, "diff ID");
}

TEST_F(ImagePull, AWrongNumberOfDiffIdsIsRefused) {
  auto tars = three_tars();
  registry.add_image("app", "latest", image_config({tars[0], tars[1]}), gzipped(tars));
  expect_failure("app", Code::kInvalidArgument, "2 diff IDs");
}

class WrongSize : public ImagePull, public ::testing::WithParamInterface<int> {};
TEST_P(WrongSize, IsRefused) {
  auto tars = three_tars();
  auto blobs = gzipped(tars);
  const std::string config = image_config(tars);
  registry.add_blob(config);
  std::string layers;
  for (const std::string& blob : blobs) {
    registry.add_blob(blob);
    layers += fmt::format(
        R"({}{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{}","size":{}}})",
        layers.empty() ? "" : ",", sha256_of(blob), static_cast<int>(blob.size()) + GetParam());
  }
  registry.add_manifest(
      "app", "latest",
      fmt::format(
          R"({{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":)"
          R"("application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},"layers":[{}]}})",
          kManifestType, sha256_of(config), config.size(), layers),
      kManifestType);
  expect_failure("app", Code::kDataLoss, "");
}
INSTANTIATE_TEST_SUITE_P(ImagePull, WrongSize, ::testing::Values(-7, 7));

TEST_F(ImagePull, TornLayersAreRefused) {
  auto tars = three_tars();
  auto blobs = gzipped(tars);
  blobs[0].resize(blobs[0].size() / 2);
  registry.add_image("gzip", "latest", image_config(tars), blobs);
  expect_failure("gzip", Code::kDataLoss, "");
  auto torn = tars;
  torn[0].resize(torn[0].size() / 2);
  registry.add_image("tar", "latest", image_config(torn), gzipped(torn));
  expect_failure("tar", Code::kDataLoss, "");
}

// --- shapes of images ---------------------------------------------------------------------------
TEST_F(ImagePull, TheSameLayerTwiceAnEmptyLayerAndNoLayers) {
  auto tars = three_tars();
  serve("twice", {tars[0], tars[1], tars[1]});
  auto twice = house.pull(registry, "twice");
  EXPECT_TRUE(twice) << twice.error().message();
  serve("empty", {tars[0], LayerBuilder().tar(), tars[1]});
  auto empty = house.pull(registry, "empty");
  EXPECT_TRUE(empty) << empty.error().message();
  serve("none", {});
  auto none = house.pull(registry, "none");
  ASSERT_TRUE(none) << none.error().message();
  EXPECT_TRUE(none->chain_id.empty());
}

std::string index_of(const std::string& entries) {
  return fmt::format(R"({{"schemaVersion":2,"mediaType":"{}","manifests":[{}]}})", kIndexType,
                     entries);
}

TEST_F(ImagePull, AnIndexIsFollowedToThePlatform) {
  auto tars = three_tars();
  const std::string manifest = serve("app", tars);
  const std::string entry = fmt::format(
      R"({{"mediaType":"{}","digest":"{}","size":{},"platform":{{"os":"linux","architecture":"{}"}}}})",
      kManifestType, manifest, registry.manifest("app", manifest).size(),
      oci::Platform::host().architecture);
  registry.add_manifest("app", "multi", index_of(entry), kIndexType);
  auto result = house.pull(registry, "app:multi");
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(result->manifest.str(), manifest);
  EXPECT_NE(result->image.digest.str(), manifest);
  // The whole chain from the index down survives a collection.
  house.collect();
  EXPECT_TRUE(house.images().inspect(Context(), result->image.name, oci::Platform::host()));
}

TEST_F(ImagePull, NoMatchingPlatformListsWhatIsOffered) {
  const std::string manifest = serve("app", three_tars());
  registry.add_manifest(
      "app", "multi",
      index_of(fmt::format(R"({{"mediaType":"{}","digest":"{}","size":{},"platform":)"
                           R"({{"os":"plan9","architecture":"mips"}}}})",
                           kManifestType, manifest, registry.manifest("app", manifest).size())),
      kIndexType);
  expect_failure("app:multi", Code::kNotFound, "plan9/mips");
}

TEST_F(ImagePull, DeepIndexesAreRefused) {
  std::string below = serve("app", three_tars());
  std::string type = kManifestType;
  for (int depth = 0; depth < 6; ++depth) {
    const std::string entry = fmt::format(R"({{"mediaType":"{}","digest":"{}","size":{}}})", type,
                                          below, registry.manifest("app", below).size());
    below = registry.add_manifest("app", depth == 5 ? "deep" : "", index_of(entry), kIndexType);
    type = kIndexType;
  }
  expect_failure("app:deep", Code::kInvalidArgument, "nested too deeply");
}

TEST_F(ImagePull, HugeManifestsAndWrongTypesAreRefused) {
  registry.add_manifest("app", "huge", std::string(5 << 20, ' '), kManifestType);
  expect_failure("app:huge", Code::kResourceExhausted, "");
  registry.add_manifest("app", "html", "<html></html>", "text/html");
  expect_failure("app:html", Code::kDataLoss, "text/html");
}

TEST_F(ImagePull, TooManyEntriesAndBytesAreRefused) {
  image::ImageService::Parts::Limits limits;
  limits.max_layer_entries = 3;
  ImageHouse strict({.limits = limits});
  serve("app", three_tars());
  auto result = strict.pull(registry, "app");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), Code::kResourceExhausted) << result.error().message();
  limits = {};
  limits.max_layer_bytes = 1000;
  ImageHouse small({.limits = limits});
  auto bytes = small.pull(registry, "app");
  ASSERT_FALSE(bytes);
  EXPECT_EQ(bytes.error().code(), Code::kResourceExhausted) << bytes.error().message();
}

// --- bad days -----------------------------------------------------------------------------------
TEST_F(ImagePull, AResetInTheMiddleIsResumedNotRepeated) {
  std::vector<std::string> tars{LayerBuilder().file("big", noise(3 << 20)).tar()};
  serve("big", tars);
  const std::string digest = sha256_of(gzipped(tars)[0]);
  registry.inject({.path = digest, .reset_after = 2 << 20});
  auto result = house.pull(registry, "big");
  ASSERT_TRUE(result) << result.error().message();
  // The second request begins where the first one's bytes ended.
  std::vector<std::string> ranges;
  for (const auto& seen : registry.seen())
    if (seen.method == "GET" && seen.path.ends_with(digest))
      ranges.push_back(seen.headers.contains("range") ? seen.headers.at("range") : "");
  ASSERT_EQ(ranges.size(), 2u);
  EXPECT_THAT(ranges[1], ::testing::MatchesRegex("bytes=[1-9][0-9]*-.*"));
}

TEST_F(ImagePull, BadCredentialsFailTheirOwnPullOnly) {
  FakeRegistry::Options options;
  options.auth = FakeRegistry::Auth::kBasic;
  FakeRegistry guarded(options);
  auto tars = three_tars();
  guarded.add_image("app", "latest", image_config(tars), gzipped(tars));
  auto good =
      registry::fixed_credentials(guarded.host(), {.username = "user", .password = "secret"});
  auto bad = registry::fixed_credentials(guarded.host(), {.username = "user", .password = "wrong"});
  std::vector<Result<PullResult>> right(5, PullResult());
  std::vector<Result<PullResult>> wrong(5, PullResult());
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 5; ++i) {
      threads.emplace_back([&, i] { right[i] = house.pull(guarded, "app", good); });
      threads.emplace_back([&, i] { wrong[i] = house.pull(guarded, "app", bad); });
    }
  }
  for (auto& result : right) EXPECT_TRUE(result) << result.error().message();
  for (auto& result : wrong) {
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code(), Code::kUnauthenticated) << result.error().message();
    EXPECT_THAT(result.error().message(), ::testing::Not(HasSubstr("wrong")));
  }
  // Not on a cache hit either.
  auto cached = house.pull(guarded, "app", bad);
  ASSERT_FALSE(cached);
  EXPECT_EQ(cached.error().code(), Code::kUnauthenticated);
}

TEST_F(ImagePull, ARevokedCredentialHandsTheBlobToTheNextWaiter) {
  auto tars = three_tars();
  serve("app", tars);
  const std::string digest = sha256_of(gzipped(tars)[0]);
  // The first caller's download stands still until the second has joined; then its way is refused,
  // and the second's goes on.
  std::latch second_joined(1);
  registry.inject({.method = "GET", .path = digest, .custom = [&](Exchange& exchange) {
                     second_joined.wait();
                     exchange.respond(403);
                   }});
  const auto reference = oci::Reference::parse(registry.host() + "/app").value();
  Result<PullResult> first = PullResult();
  Result<PullResult> second = PullResult();
  {
    std::jthread one([&] { first = house.pull(registry, "app"); });
    while (registry.count("GET", digest) == 0) std::this_thread::yield();
    std::jthread two([&] {
      bool told = false;
      second = house.images().pull(Context(), reference, house.pull_options(),
                                   [&](const image::Progress& progress) {
                                     if (progress.phase != "fetching" || told) return;
                                     told = true;
                                     second_joined.count_down();
                                   });
    });
  }
  ASSERT_FALSE(first);
  EXPECT_EQ(first.error().code(), Code::kPermissionDenied) << first.error().message();
  EXPECT_TRUE(second) << second.error().message();
  EXPECT_EQ(registry.bytes_served(digest), gzipped(tars)[0].size());
}

TEST_F(ImagePull, AnIsolatedNamespaceProvesItsAccessFirst) {
  image::ImageService::Parts::Limits limits;
  limits.isolated = true;
  ImageHouse isolated({.limits = limits});
  auto tars = three_tars();
  serve("app", tars);
  ASSERT_TRUE(isolated.pull(registry, "app"));
  const Context other = Context().with_namespace("other");
  registry.inject(
      {.method = "GET", .path = sha256_of(gzipped(tars)[0]), .times = -1, .status = 403});
  auto refused = isolated.pull(registry, "app", nullptr, other);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kPermissionDenied) << refused.error().message();
  registry.clear_faults();
  auto allowed = isolated.pull(registry, "app", nullptr, other);
  ASSERT_TRUE(allowed) << allowed.error().message();
  EXPECT_EQ(allowed->layers_present, 3u);
}

TEST_F(ImagePull, CollectionInALoopTakesNothingThatAPullNeeds) {
  for (int i = 0; i < 8; ++i)
    serve(fmt::format("app{}", i),
          {three_tars()[0], LayerBuilder().file("n", noise(50'000, i)).tar()});
  std::atomic<bool> done{false};
  std::jthread collector([&] {
    while (!done) house.collect();
  });
  {
    std::vector<std::jthread> pullers;
    for (int p = 0; p < 2; ++p)
      pullers.emplace_back([&, p] {
        for (int i = p; i < 8; i += 2) {
          auto result = house.pull(registry, fmt::format("app{}", i));
          ASSERT_TRUE(result) << result.error().message();
          EXPECT_FALSE(house.tree(result->chain_id).empty());
          if (i % 4 < 2) {
            ASSERT_TRUE(house.images().remove(Context(), result->image.name));
          }
        }
      });
  }
  done = true;
  collector.join();
  house.collect();
  EXPECT_THAT(house.leftovers(), IsEmpty());
  EXPECT_EQ(house.images().list(Context(), {})->size(), 4u);
}

TEST_F(ImagePull, AnImageRemovedWhileItIsPulledIsThereOrNotButNeverHalf) {
  serve("app", three_tars());
  for (int round = 0; round < 10; ++round) {
    Result<PullResult> result = PullResult();
    {
      std::jthread puller([&] { result = house.pull(registry, "app"); });
      (void)house.images().remove(Context(), registry.host() + "/app:latest");
      house.collect();
    }
    ASSERT_TRUE(result) << result.error().message();
    const auto images = house.images().list(Context(), {}).value();
    for (const auto& summary : images)
      EXPECT_EQ(house.tree(result->chain_id).size(), 6u) << summary.image.name;
    (void)house.images().remove(Context(), registry.host() + "/app:latest");
    house.collect();
    EXPECT_THAT(house.leftovers(), IsEmpty());
  }
}

TEST_F(ImagePull, APowerLossRebuildsWhatWasNotConfirmed) {
  auto tars = three_tars();
  serve("app", tars);
  auto result = house.pull(registry, "app");
  ASSERT_TRUE(result);
  const auto before = house.tree(result->chain_id);
  // Another boot, and the disk lost part of what was never synced.
  const auto ids = sys::list_dir(house.root() / "snapshots/overlay").value();
  for (const std::string& id : ids)
    if (sys::path_exists(house.root() / "snapshots/overlay" / id / "fs/etc/hosts")) {
      ASSERT_TRUE(sys::write_file(house.root() / "snapshots/overlay" / id / "fs/etc/hosts", ""));
    }
  house.restart("another-boot");
  EXPECT_EQ(house.tree(result->chain_id), before);
  EXPECT_THAT(house.leftovers(), IsEmpty());
}

TEST_F(ImagePull, APowerLossThatTookABlobIsMadeGoodByTheNextPull) {
  auto tars = three_tars();
  serve("app", tars);
  auto result = house.pull(registry, "app");
  ASSERT_TRUE(result);
  const auto before = house.tree(result->chain_id);
  const Digest blob = Digest::parse(sha256_of(gzipped(tars)[1])).value();
  ASSERT_TRUE(
      sys::write_file(house.root() / "content/blobs/sha256" / std::string(blob.hex()), "x"));
  house.restart("another-boot");
  auto again = house.pull(registry, "app");
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(house.tree(result->chain_id), before);
}

// --- names, archives, push ----------------------------------------------------------------------
TEST_F(ImagePull, TagsFindAndInspect) {
  serve("app", three_tars());
  auto result = house.pull(registry, "app");
  ASSERT_TRUE(result);
  ASSERT_TRUE(
      house.images().tag(Context(), result->image.name, oci::Reference::parse("mine:1").value()));
  EXPECT_EQ(house.images().find(Context(), "mine:1")->digest, result->image.digest);
  EXPECT_EQ(
      house.images().find(Context(), std::string(result->image.digest.hex().substr(0, 8)))->digest,
      result->image.digest);
  auto details = house.images().inspect(Context(), "mine:1", oci::Platform::host());
  ASSERT_TRUE(details) << details.error().message();
  EXPECT_EQ(details->names.size(), 2u);
  EXPECT_EQ(details->chain_id, result->chain_id);
  EXPECT_FALSE(house.images().remove(Context(), "mine:1")->last);
  EXPECT_EQ(house.images().find(Context(), "mine:1").error().code(), Code::kNotFound);
}

TEST_F(ImagePull, SavedArchivesLoadElsewhere) {
  serve("app", three_tars());
  auto result = house.pull(registry, "app");
  ASSERT_TRUE(result);
  for (auto format : {image::ArchiveFormat::kDocker, image::ArchiveFormat::kOciLayout}) {
    StringSink archive;
    ASSERT_TRUE(house.images().export_archive(Context(), {result->image.name}, format,
                                              oci::Platform::host(), archive));
    const std::string bytes = archive.take();
    ImageHouse other;
    MemorySource source(bytes);
    auto loaded = other.images().import_archive(Context(), source, {}, nullptr);
    ASSERT_TRUE(loaded) << loaded.error().message();
    EXPECT_EQ(loaded->front().name, result->image.name);
    EXPECT_EQ(loaded->front().digest, result->image.digest);
    EXPECT_EQ(other.tree(result->chain_id), house.tree(result->chain_id));
    other.collect();
    EXPECT_THAT(other.leftovers(), IsEmpty());
    MemorySource torn(std::string_view(bytes).substr(0, bytes.size() / 2));
    ImageHouse third;
    EXPECT_FALSE(third.images().import_archive(Context(), torn, {}, nullptr));
    EXPECT_THAT(third.images().list(Context(), {}).value(), IsEmpty());
  }
}

TEST_F(ImagePull, PushSkipsWhatIsThereAndMountsWhatIsNextDoor) {
  auto tars = three_tars();
  serve("app", tars);
  auto result = house.pull(registry, "app");
  ASSERT_TRUE(result);
  FakeRegistry other;
  other.add_blob(gzipped(tars)[0]);
  auto push = [&](FakeRegistry& target, const std::string& name) {
    return house.images().push(Context(), result->image.name,
                               oci::Reference::parse(target.host() + "/" + name).value(),
                               {.access = {.plain_http = true}}, nullptr);
  };
  Status pushed = push(other, "copy:1");
  ASSERT_TRUE(pushed) << pushed.error().message();
  EXPECT_EQ(other.manifest("copy", "1"), registry.manifest("app", result->manifest.str()));
  for (const std::string& blob : gzipped(tars)) EXPECT_EQ(other.blob(sha256_of(blob)), blob);
  EXPECT_EQ(other.count("PUT", "/manifests/1"), 1);
}

}  // namespace
}  // namespace skiff::testing

int main(int argc, char** argv) {
  skiff::testing::private_mounts();
  skiff::log::configure({.level = skiff::log::Level::kError});
  ::testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
