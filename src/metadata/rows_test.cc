#include "metadata/rows.h"

#include <gmock/gmock.h>

#include "metadata/labels.h"
#include "metadata/store_fixture.h"

namespace skiff::metadata {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::string> names(const std::vector<Image>& images) {
  std::vector<std::string> names;
  for (const Image& image : images) names.push_back(image.name);
  return names;
}

std::vector<std::string> keys(const std::vector<Snapshot>& snapshots) {
  std::vector<std::string> keys;
  for (const Snapshot& snapshot : snapshots) keys.push_back(snapshot.key);
  return keys;
}

class RowsTest : public StoreFixture {
 protected:
  std::vector<std::string> tombstone_paths() {
    std::vector<std::string> paths;
    for (const Tombstone& tombstone : get([](Reader& r) { return tombstones::list(r); }))
      paths.push_back(tombstone.kind + " " + tombstone.path);
    return paths;
  }
  Blob blob(char hex, Labels labels = {}, std::string boot = "") {
    return {.digest = digest(hex),
            .size = 10,
            .labels = std::move(labels),
            .unconfirmed_boot = std::move(boot)};
  }
  Result<int64_t> prepare(Transaction& txn, const std::string& key, const std::string& parent = "",
                          const std::string& ns = "a") {
    return snapshots::create(txn, ns, {.snapshotter = "overlayfs", .key = key, .parent = parent},
                             "");
  }
  Status commit(Transaction& txn, const std::string& key, snapshots::CommitRow row,
                const std::string& ns = "a") {
    return snapshots::commit(txn, ns, "overlayfs", key, row, "");
  }
  // A committed layer whose name is its chain ID, of the digest made of `hex`.
  Status layer(Transaction& txn, char hex, const std::string& parent = "", bool verified = true,
               const std::string& ns = "a", const std::string& boot = "") {
    SKIFF_TRY(prepare(txn, "extract", parent, ns));
    snapshots::CommitRow row{.name = digest(hex).str(), .unconfirmed_boot = boot};
    if (verified) row.verified_chain_id = digest(hex);
    return commit(txn, "extract", row, ns);
  }
};

TEST(UpdatedLabels, FollowsFieldMasks) {
  Labels before{{"a", "1"}, {"b", "2"}};
  EXPECT_EQ(*updated_labels(before, {{"c", "3"}}, {}), (Labels{{"c", "3"}}));
  EXPECT_EQ(*updated_labels(before, {{"c", "3"}}, {"labels"}), (Labels{{"c", "3"}}));
  EXPECT_EQ(*updated_labels(before, {{"a", "9"}, {"c", "3"}}, {"labels.a"}),
            (Labels{{"a", "9"}, {"b", "2"}}));
  EXPECT_EQ(*updated_labels(before, {{"a", ""}}, {"labels.a", "labels.x.y"}), (Labels{{"b", "2"}}));
  EXPECT_EQ(updated_labels(before, {}, {"size"}).error().code(), Code::kInvalidArgument);
  EXPECT_EQ(updated_labels({}, {{"k", std::string(4096, 'v')}}, {}).error().code(),
            Code::kInvalidArgument);
  EXPECT_TRUE(updated_labels({}, {{"k", std::string(4095, 'v')}}, {}));
}

TEST(LabelText, KeepsEveryByteAndFindsOneLabel) {
  Labels labels{{"a.b/c", "x"}, {"quote\"\\", "line\nend\x01"}, {"ünï", std::string("nul\0!", 5)}};
  std::string text = encode_labels(labels);
  EXPECT_EQ(*decode_labels(text), labels);
  std::string scratch;
  EXPECT_EQ(find_label(text, "a.b/c", scratch), "x");
  EXPECT_EQ(find_label(text, "quote\"\\", scratch), "line\nend\x01");
  EXPECT_EQ(find_label(text, "a", scratch), std::nullopt);
  EXPECT_EQ(encode_labels({}), "{}");
  for (std::string bad : {"", "{", "{\"a\"}", "{\"a\":\"b\"", "{\"a\":\"b\"}x",
                          "{\"a\":\"\\u00g0\"}", "{\"a\":1}", "{\"a\\"})
    EXPECT_EQ(decode_labels(bad).error().code(), Code::kDataLoss) << bad;
}

TEST(LabelExpiry, ReadsRfc3339) {
  auto expiry = [](const char* text) { return label_expiry({{"containerd.io/gc.expire", text}}); };
  EXPECT_EQ(*label_expiry({}), std::nullopt);
  EXPECT_EQ(**expiry("1970-01-01T00:00:01Z"), 1'000'000'000);
  EXPECT_EQ(**expiry("1970-01-01T00:00:01.5Z"), 1'500'000'000);
  EXPECT_EQ(**expiry("1970-01-01T01:00:01.000000001+01:00"), 1'000'000'001);
  EXPECT_EQ(**expiry("1969-12-31T22:30:00-01:30"), 0);
  for (const char* bad :
       {"", "tomorrow", "1970-01-01", "1970-01-01T00:00:00", "1970-01-01T00:00:00+1"})
    EXPECT_EQ(expiry(bad).error().code(), Code::kInvalidArgument) << bad;
}

TEST_F(RowsTest, NamespacesComeWithTheirFirstRow) {
  SKIFF_ASSERT_OK(write([&](Transaction& txn) -> Status {
    SKIFF_TRY(namespaces::ensure(txn, "b"));
    SKIFF_TRY(namespaces::ensure(txn, "b"));
    return blobs::put(txn, "a", blob('1'), "");
  }));
  EXPECT_THAT(get([](Reader& r) { return namespaces::list(r); }), ElementsAre("a", "b"));
}

TEST_F(RowsTest, ImagesAreCreatedReplacedListedAndRemoved) {
  Image image{.name = "docker.io/library/redis:7",
              .target = R"({"mediaType":"application/vnd.oci.image.index.v1+json"})",
              .digest = digest('1'),
              .labels = {{"team", "cache"}}};
  SKIFF_ASSERT_OK(write([&](Transaction& txn) { return images::create(txn, "a", image); }));
  EXPECT_EQ(code_of(write([&](Transaction& txn) { return images::create(txn, "a", image); })),
            Code::kAlreadyExists);
  auto stored = get([&](Reader& r) { return images::get(r, "a", image.name); });
  EXPECT_EQ(stored.target, image.target);
  EXPECT_EQ(stored.labels, image.labels);
  EXPECT_GT(stored.created, 0);

  Image second = image;
  second.digest = digest('2');
  second.created = 5;
  SKIFF_ASSERT_OK(write([&](Transaction& txn) -> Status {
    SKIFF_TRY(images::put(txn, "a", second));
    SKIFF_TRY(images::put(txn, "a", {.name = "x", .target = "{}", .digest = digest('1')}));
    return images::put(txn, "b", {.name = "other", .target = "{}", .digest = digest('1')});
  }));
  auto replaced = get([&](Reader& r) { return images::get(r, "a", image.name); });
  EXPECT_EQ(replaced.digest, digest('2'));
  EXPECT_EQ(replaced.created, stored.created) << "replacing keeps the time of creation";

  auto list = [&](std::vector<std::string> filters) {
    return names(get([&](Reader& r) { return images::list(r, "a", filters); }));
  };
  EXPECT_THAT(list({}), ElementsAre(image.name, "x"));
  EXPECT_THAT(list({"labels.team==cache"}), ElementsAre(image.name));
  EXPECT_THAT(list({"name==x", "name==y"}), ElementsAre("x"));
  EXPECT_THAT(list({"target.digest==" + digest('1').str()}), ElementsAre("x"));
  EXPECT_THAT(list({"target.mediatype~=index"}), ElementsAre(image.name));
  EXPECT_THAT(list({"nothing"}), IsEmpty());
  EXPECT_EQ(code([&](Reader& r) { return images::list(r, "a", {"name=="}); }),
            Code::kInvalidArgument);

  SKIFF_ASSERT_OK(write([&](Transaction& txn) { return images::remove(txn, "a", "x"); }));
  EXPECT_EQ(code([&](Reader& r) { return images::get(r, "a", "x"); }), Code::kNotFound);
  EXPECT_EQ(code_of(write([&](Transaction& txn) { return images::remove(txn, "a", "x"); })),
            Code::kNotFound);
}

TEST_F(RowsTest, ABlobIsSharedAndItsNamesAreNot) {
  SKIFF_ASSERT_OK(write([&](Transaction& txn) -> Status {
    SKIFF_TRY(blobs::put(txn, "a", blob('1', {{"x", "1"}}), ""));
    return blobs::put(txn, "a", blob('1', {{"y", "2"}}), "");
  }));
  auto stored = get([&](Reader& r) { return blobs::get(r, "a", digest('1')); });
  EXPECT_EQ(stored.labels, (Labels{{"x", "1"}, {"y", "2"}}));
  EXPECT_EQ(stored.size, 10u);
  EXPECT_EQ(code([&](Reader& r) { return blobs::get(r, "b", digest('1')); }), Code::kNotFound);
  EXPECT_EQ(code([&](Reader& r) { return blobs::get_shared(r, digest('1')); }), Code::kOk);

  SKIFF_ASSERT_OK(write([&](Transaction& txn) -> Status {
    SKIFF_TRY(blobs::put(txn, "b", blob('1'), ""));
    return blobs::remove(txn, "a", digest('1'));
  }));
  EXPECT_THAT(tombstone_paths(), IsEmpty());
  SKIFF_ASSERT_OK(write([&](Transaction& txn) { return blobs::remove(txn, "b", digest('1')); }));
  std::string path = "blob content/blobs/sha256/" + std::string(64, '1');
  EXPECT_THAT(tombstone_paths(), ElementsAre(path));
  EXPECT_EQ(code([&](Reader& r) { return blobs::get_shared(r, digest('1')); }), Code::kNotFound);

  // Its bytes come back before the tombstone was swept.
  SKIFF_ASSERT_OK(write([&](Transaction& txn) { return blobs::put(txn, "a", blob('1'), ""); }));
  EXPECT_THAT(tombstone_paths(), IsEmpty());
  Blob wrong = blob('1');
  wrong.size = 11;
  EXPECT_EQ(code_of(write([&](Transaction& txn) { return blobs::put(txn, "b", wrong, ""); })),
            Code::kFailedPrecondition);
}

TEST_F(RowsTest, UnconfirmedBlobsAreSuspectInAnotherBootAlone) {
  SKIFF_ASSERT_OK(write([&](Transaction& txn) -> Status {
    SKIFF_TRY(blobs::put(txn, "a", blob('1', {}, "boot-1"), ""));
    SKIFF_TRY(blobs::put(txn, "a", blob('2', {}, ""), ""));
    return blobs::put(txn, "a", blob('2', {}, "boot-1"), "");  // confirmed, and stays so
  }));
  uint64_t early = store_->generation();
  SKIFF_ASSERT_OK(
      write([&](Transaction& txn) { return blobs::put(txn, "a", blob('3', {}, "boot-1"), ""); }));
  auto suspects = [&](const std::string& boot) {
    std::string digits;
    for (auto& blob : get([&](Reader& r) { return blobs::suspects(r, boot); }))
      digits += blob.digest.hex().front();
    return digits;
  };
  EXPECT_EQ(suspects("boot-1"), "");
  EXPECT_EQ(suspects("boot-2"), "13");
  SKIFF_ASSERT_OK(write([&](Transaction& txn) { return blobs::confirm(txn, "boot-2", early); }));
  EXPECT_EQ(suspects("boot-2"), "13") << "only what was written in that boot";
  SKIFF_ASSERT_OK(write([&](Transaction& txn) { return blobs::confirm(txn, "boot-1", early); }));
  EXPECT_EQ(suspects("boot-2"), "3");
  SKIFF_ASSERT_OK(
      write([&](Transaction& txn) { return blobs::set_unconfirmed(txn, digest('1'), "boot-1"); }));
  EXPECT_EQ(suspects("boot-2"), "13");
}

TEST_F(RowsTest, IngestsAreRenewedFinishedAndLeaveTombstonesWhenRemoved) {
  Ingest ingest{.id = "f1",
                .ref = "layer-1",
                .offset = 5,
                .total = 100,
                .expected = digest('1'),
                .boot = "boot-1"};
  SKIFF_ASSERT_OK(write([&](Transaction& txn) { return ingests::put(txn, "a", ingest, ""); }));
  ingest.offset = 50;
  SKIFF_ASSERT_OK(write([&](Transaction& txn) -> Status {
    SKIFF_TRY(ingests::put(txn, "a", ingest, ""));
    return ingests::put(txn, "b", {.id = "f2", .ref = "layer-1"}, "");
  }));
  auto stored = get([&](Reader& r) { return ingests::get(r, "a", "layer-1"); });
  EXPECT_EQ(stored.offset, 50u);
  EXPECT_EQ(stored.expected, digest('1'));
  EXPECT_EQ(get([](Reader& r) { return ingests::list(r, "a"); }).size(), 1u);
  EXPECT_EQ(get([](Reader& r) { return ingests::list_all(r); }).size(), 2u);
  SKIFF_ASSERT_OK(write([&](Transaction& txn) -> Status {
    SKIFF_TRY(ingests::finish(txn, "a", "layer-1"));
    return ingests::remove(txn, "b", "layer-1");
  }));
  EXPECT_THAT(tombstone_paths(), ElementsAre("ingest content/ingest/f2"));
}

TEST_F(RowsTest, SnapshotsFollowTheirLifeCycle) {
  int64_t id = 0;
  SKIFF_ASSERT_OK(write([&](Transaction& txn) -> Status {
    id = SKIFF_TRY(prepare(txn, "work"));
    return ok();
  }));
  EXPECT_EQ(code_of(write([&](Transaction& txn) -> Status {
              SKIFF_TRY(prepare(txn, "work"));
              return ok();
            })),
            Code::kAlreadyExists);
  EXPECT_EQ(code_of(write([&](Transaction& txn) -> Status {
              SKIFF_TRY(prepare(txn, "child", "work"));
              return ok();
            })),
            Code::kInvalidArgument)
      << "the parent is active";
  EXPECT_EQ(code_of(write([&](Transaction& txn) -> Status {
              SKIFF_TRY(prepare(txn, "child", "nowhere"));
              return ok();
            })),
            Code::kNotFound);
  SKIFF_ASSERT_OK(write([&](Transaction& txn) -> Status {
    return commit(txn, "work", {.name = "base", .labels = {{"l", "1"}}, .usage_bytes = 7});
  }));
  auto base = get([&](Reader& r) { return snapshots::get(r, "a", "overlayfs", "base"); });
  EXPECT_EQ(base.id, id);
  EXPECT_EQ(base.kind, SnapshotKind::kCommitted);
  EXPECT_EQ(base.usage_bytes, 7u);
  EXPECT_EQ(code([&](Reader& r) { return snapshots::get(r, "a", "overlayfs", "work"); }),
            Code::kNotFound);
  EXPECT_EQ(code_of(write([&](Transaction& txn) { return commit(txn, "base", {.name = "b2"}); })),
            Code::kFailedPrecondition);

  SKIFF_ASSERT_OK(write([&](Transaction& txn) -> Status {
    SKIFF_TRY(prepare(txn, "c1", "base"));
    return ok();
  }));
  EXPECT_EQ(get([&](Reader& r) { return snapshots::get(r, "a", "overlayfs", "c1"); }).parent,
            "base");
  EXPECT_EQ(code_of(write([&](Transaction& txn) { return commit(txn, "c1", {.name = "base"}); })),
            Code::kAlreadyExists);
  EXPECT_EQ(get([&](Reader& r) { return snapshots::get(r, "a", "overlayfs", "c1"); }).kind,
            SnapshotKind::kActive)
      << "a commit that fails changes nothing";
  EXPECT_EQ(code_of(write([&](Transaction& txn) {
              return snapshots::remove(txn, "a", "overlayfs", "base");
            })),
            Code::kFailedPrecondition);
  auto list = [&](std::vector<std::string> filters) {
    return keys(get([&](Reader& r) { return snapshots::list(r, "a", "overlayfs", filters); }));
  };
  EXPECT_THAT(list({}), ElementsAre("base", "c1"));
  EXPECT_THAT(list({"kind==active,parent==base"}), ElementsAre("c1"));
  EXPECT_THAT(list({"labels.l"}), ElementsAre("base"));
  SKIFF_ASSERT_OK(write([&](Transaction& txn) -> Status {
    SKIFF_TRY(snapshots::remove(txn, "a", "overlayfs", "c1"));
    return snapshots::remove(txn, "a", "overlayfs", "base");
  }));
  EXPECT_THAT(tombstone_paths(), ElementsAre("snapshot overlayfs/2", "snapshot overlayfs/1"));
}

TEST_F(RowsTest, ACommitMayMoveToAnotherParent) {
  SKIFF_ASSERT_OK(write([&](Transaction& txn) -> Status {
    SKIFF_TRY(prepare(txn, "upper"));  // before the layer that it will stand on
    SKIFF_TRY(layer(txn, '1'));
    return commit(txn, "upper", {.name = digest('2').str(), .parent = digest('1').str()});
  }));
  auto upper =
      get([&](Reader& r) { return snapshots::get(r, "a", "overlayfs", digest('2').str()); });
  EXPECT_EQ(upper.parent, digest('1').str());
  EXPECT_THAT(get([&](Reader& r) { return snapshots::chain(r, upper.id); }), ElementsAre(1, 2));
}

TEST_F(RowsTest, VerifiedChainsServeOtherNamespaces) {
  SKIFF_ASSERT_OK(write([&](Transaction& txn) -> Status {
    SKIFF_TRY(layer(txn, '1'));
    SKIFF_TRY(layer(txn, '2', digest('1').str()));
    return layer(txn, '3', "", false);
  }));
  auto found =
      get([&](Reader& r) { return snapshots::find_committed(r, "overlayfs", digest('2').str()); });
  EXPECT_EQ(found.parent, digest('1').str());
  EXPECT_EQ(
      code([&](Reader& r) { return snapshots::find_committed(r, "overlayfs", digest('3').str()); }),
      Code::kNotFound)
      << "a client's own";
  auto adopt = [&](char hex) {
    return code_of(write([&](Transaction& txn) {
      return snapshots::adopt(txn, "b", "overlayfs", digest(hex).str(), {{"l", "1"}}, "");
    }));
  };
  EXPECT_EQ(adopt('3'), Code::kNotFound);
  EXPECT_EQ(adopt('2'), Code::kOk);
  EXPECT_EQ(adopt('2'), Code::kOk) << "again";
  EXPECT_THAT(keys(get([&](Reader& r) { return snapshots::list(r, "b", "overlayfs", {}); })),
              ElementsAre(digest('1').str(), digest('2').str()));
  EXPECT_EQ(
      get([&](Reader& r) { return snapshots::get(r, "b", "overlayfs", digest('2').str()); }).id,
      found.id);
  // The bytes go with the last name.
  auto remove = [&](const char* ns, char hex) {
    return write([=](Transaction& txn) {
      return snapshots::remove(txn, ns, "overlayfs", digest(hex).str());
    });
  };
  SKIFF_ASSERT_OK(remove("a", '2'));
  EXPECT_THAT(tombstone_paths(), IsEmpty());
  SKIFF_ASSERT_OK(remove("a", '1'));
  SKIFF_ASSERT_OK(remove("b", '2'));
  EXPECT_THAT(tombstone_paths(), ElementsAre(fmt::format("snapshot overlayfs/{}", found.id)));
}

TEST_F(RowsTest, ANamespacesOwnSnapshotIsNotReplacedByAnAdoptedOne) {
  SKIFF_ASSERT_OK(write([&](Transaction& txn) -> Status {
    SKIFF_TRY(layer(txn, '1'));
    return layer(txn, '1', "", false, "b");
  }));
  EXPECT_EQ(code_of(write([&](Transaction& txn) {
              return snapshots::adopt(txn, "b", "overlayfs", digest('1').str(), {}, "");
            })),
            Code::kAlreadyExists);
  // A second verified layer of the same chain stays its namespace's.
  SKIFF_ASSERT_OK(write([&](Transaction& txn) { return layer(txn, '1', "", true, "c"); }));
  EXPECT_EQ(get([&](Reader& r) {
              return snapshots::find_committed(r, "overlayfs", digest('1').str());
            }).id,
            1);
}

TEST_F(RowsTest, SuspectLayersComeParentsFirst) {
  SKIFF_ASSERT_OK(write([&](Transaction& txn) -> Status {
    SKIFF_TRY(prepare(txn, "upper"));
    SKIFF_TRY(layer(txn, '1', "", true, "a", "boot-1"));
    SKIFF_TRY(layer(txn, '3', "", true, "a", ""));
    return commit(txn, "upper",
                  {.name = digest('2').str(),
                   .parent = digest('1').str(),
                   .unconfirmed_boot = "boot-1",
                   .verified_chain_id = digest('2')});
  }));
  EXPECT_THAT(keys(get([](Reader& r) { return snapshots::suspects(r, "boot-2"); })),
              ElementsAre(digest('1').str(), digest('2').str()));
  EXPECT_THAT(get([](Reader& r) { return snapshots::suspects(r, "boot-1"); }), IsEmpty());
  SKIFF_ASSERT_OK(
      write([&](Transaction& txn) { return snapshots::confirm(txn, "boot-1", txn.generation()); }));
  EXPECT_THAT(get([](Reader& r) { return snapshots::suspects(r, "boot-2"); }), IsEmpty());
}

TEST_F(RowsTest, LeasesHoldWhatTheyAreGiven) {
  SKIFF_ASSERT_OK(write([&](Transaction& txn) -> Status {
    SKIFF_TRY(leases::create(txn, "a", {.id = "l1", .labels = {{"x", "1"}}}));
    SKIFF_TRY(blobs::put(txn, "a", blob('1'), "l1"));
    SKIFF_TRY(ingests::put(txn, "a", {.id = "f", .ref = "r"}, "l1"));
    SKIFF_TRY(snapshots::create(txn, "a", {.snapshotter = "overlayfs", .key = "k"}, "l1"));
    return commit(txn, "k", {.name = "name"});
  }));
  auto resources = [&] {
    std::vector<std::string> texts;
    for (auto& r : get([](Reader& r) { return leases::resources(r, "a", "l1"); }))
      texts.push_back(r.type + " " + r.id);
    return texts;
  };
  EXPECT_THAT(resources(),
              ElementsAre("content " + digest('1').str(), "ingests r", "snapshots/overlayfs name"));
  SKIFF_ASSERT_OK(write([&](Transaction& txn) -> Status {
    SKIFF_TRY(ingests::finish(txn, "a", "r"));
    return leases::remove_resource(txn, "a", "l1", {"snapshots/overlayfs", "name"});
  }));
  EXPECT_THAT(resources(), ElementsAre("content " + digest('1').str()));
  auto add = [&](const std::string& lease, LeaseResource resource) {
    return code_of(
        write([&](Transaction& txn) { return leases::add_resource(txn, "a", lease, resource); }));
  };
  EXPECT_EQ(add("l1", {"content", "sha256:any"}), Code::kOk);
  EXPECT_EQ(add("l1", {"volumes", "v"}), Code::kInvalidArgument);
  EXPECT_EQ(add("l1", {"snapshots/", "v"}), Code::kInvalidArgument);
  EXPECT_EQ(add("none", {"content", "x"}), Code::kNotFound);
  EXPECT_EQ(
      code_of(write([&](Transaction& txn) { return blobs::put(txn, "a", blob('2'), "none"); })),
      Code::kNotFound);
  EXPECT_EQ(code([&](Reader& r) { return blobs::get(r, "a", digest('2')); }), Code::kNotFound)
      << "nothing of a put whose lease is not there";
  EXPECT_EQ(
      code_of(write([&](Transaction& txn) { return leases::create(txn, "a", {.id = "l1"}); })),
      Code::kAlreadyExists);
  EXPECT_EQ(get([](Reader& r) { return leases::list(r, "a", {"labels.x==1"}); }).size(), 1u);
  EXPECT_EQ(get([](Reader& r) { return leases::list(r, "a", {"labels.x==2"}); }).size(), 0u);
  SKIFF_ASSERT_OK(write([&](Transaction& txn) { return leases::remove(txn, "a", "l1"); }));
  EXPECT_EQ(code([](Reader& r) { return leases::resources(r, "a", "l1"); }), Code::kNotFound);
}

TEST_F(RowsTest, IntentsAndTombstonesKeepTheirOrder) {
  int64_t first = 0;
  SKIFF_ASSERT_OK(write([&](Transaction& txn) -> Status {
    first = SKIFF_TRY(intents::put(txn, "snapshot.prepare", "{}"));
    SKIFF_TRY(intents::put(txn, "container.create", "{\"id\":1}"));
    SKIFF_TRY(tombstones::put(txn, "blob", "x"));
    return tombstones::put(txn, "blob", "x");
  }));
  EXPECT_EQ(get([](Reader& r) { return intents::list(r); }).size(), 2u);
  EXPECT_THAT(tombstone_paths(), ElementsAre("blob x"));
  SKIFF_ASSERT_OK(write([&](Transaction& txn) { return intents::remove(txn, first); }));
  EXPECT_EQ(get([](Reader& r) { return intents::list(r); }).front().kind, "container.create");
  EXPECT_EQ(code_of(write([&](Transaction& txn) { return intents::remove(txn, first); })),
            Code::kNotFound);
}

TEST_F(RowsTest, ContainersHaveUniqueNames) {
  ContainerRow row{.id = "c1",
                   .name = "web",
                   .image = "redis",
                   .spec = "{}",
                   .state = "{}",
                   .labels = {{"app", "x"}}};
  SKIFF_ASSERT_OK(write([&](Transaction& txn) -> Status {
    SKIFF_TRY(containers::create(txn, "a", row));
    return containers::create(txn, "b", row);
  }));
  auto create = [&](ContainerRow row) {
    return code_of(write([&](Transaction& txn) { return containers::create(txn, "a", row); }));
  };
  EXPECT_EQ(create({.id = "c1"}), Code::kAlreadyExists);
  EXPECT_EQ(create({.id = "c2", .name = "web"}), Code::kAlreadyExists);
  EXPECT_EQ(create({.id = "c3"}), Code::kOk);
  EXPECT_EQ(create({.id = "c4"}), Code::kOk) << "no name is no clash";
  row.state = R"({"status":"running"})";
  SKIFF_ASSERT_OK(write([&](Transaction& txn) { return containers::update(txn, "a", row); }));
  EXPECT_EQ(get([](Reader& r) { return containers::get(r, "a", "c1"); }).state, row.state);
  EXPECT_EQ(get([](Reader& r) { return containers::list(r, "a", {"labels.app==x"}); }).size(), 1u);
  SKIFF_ASSERT_OK(write([&](Transaction& txn) { return containers::remove(txn, "a", "c1"); }));
  EXPECT_EQ(code_of(write([&](Transaction& txn) { return containers::update(txn, "a", row); })),
            Code::kNotFound);
}

}  // namespace
}  // namespace skiff::metadata
