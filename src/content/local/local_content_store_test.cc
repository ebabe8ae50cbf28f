#include "content/local/local_content_store.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "codec/hash.h"
#include "metadata/gc.h"
#include "sys/mount.h"

namespace skiff::content {
namespace {

using metadata::Durability;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class LocalContentStoreTest : public testing::Test {
 protected:
  void SetUp() override { open("boot-1"); }

  void open(const std::string& boot, uint64_t reserve = 0) {
    store_.reset();
    metadata_.reset();
    metadata_ = *metadata::Store::open(root_ / "metadata.db", {.boot_id = boot});
    store_ = *LocalContentStore::open(*metadata_, {.root = root_, .reserve_bytes = reserve});
  }
  Digest put(std::string_view text, Durability durability = Durability::kDurable) {
    auto ingest = *store_->ingest(context_, "put", {codec::digest_of(text), text.size()});
    EXPECT_TRUE(ingest->write(as_bytes(text)));
    auto digest = ingest->commit(context_, {}, {.durability = durability});
    EXPECT_TRUE(digest) << digest.error().message();
    return *digest;
  }
  sys::Path blob(const Digest& digest) { return root_ / "content/blobs/sha256" / digest.hex(); }
  // An ingest of "abcdef" that holds "abc"; its file.
  sys::Path half_ingest() {
    auto ingest = *store_->ingest(context_, "half", {codec::digest_of("abcdef"), 6});
    EXPECT_TRUE(ingest->write(as_bytes("abc")));
    return root_ / "content/ingest" / sys::list_dir(root_ / "content/ingest")->front();
  }
  std::vector<std::string> fsck(bool deep = true) {
    auto findings = store_->fsck(context_, deep);
    EXPECT_TRUE(findings);
    std::vector<std::string> kinds;
    for (const Finding& finding : *findings) kinds.push_back(finding.kind);
    return kinds;
  }
  LocalContentStore::Recovery recover() {
    auto recovery = store_->recover(context_);
    EXPECT_TRUE(recovery) << recovery.error().message();
    EXPECT_THAT(fsck(), IsEmpty());
    return *recovery;
  }
  Status sweep() {
    return metadata::sweep_tombstones(context_, *metadata_, [&](auto& kind, auto& path) {
      return store_->remove_files(context_, kind, path);
    });
  }
  void make_writable(const sys::Path& file) { ASSERT_EQ(chmod(file.c_str(), 0600), 0); }

  sys::TempDir temp_;
  sys::Path root_ = temp_.path();
  Context context_;
  std::unique_ptr<metadata::Store> metadata_;
  std::unique_ptr<LocalContentStore> store_;
};

TEST_F(LocalContentStoreTest, FsckFindsSeededDamage) {
  Digest digest = put("some bytes");
  EXPECT_THAT(fsck(), IsEmpty());

  make_writable(blob(digest));
  ASSERT_TRUE(sys::write_file(blob(digest), "some bytez"));
  EXPECT_THAT(fsck(false), IsEmpty()) << "only a deep check reads the bytes";
  EXPECT_THAT(fsck(), ElementsAre("blob-digest"));
  ASSERT_TRUE(sys::write_file(blob(digest), "some"));
  EXPECT_THAT(fsck(false), ElementsAre("blob-size"));
  ASSERT_TRUE(sys::remove_file(blob(digest)));
  EXPECT_THAT(fsck(false), ElementsAre("blob-missing"));
  EXPECT_TRUE(store_->open(context_, digest).error().is(Code::kDataLoss));
  ASSERT_TRUE(sys::write_file(blob(digest), "some bytes"));

  ASSERT_TRUE(sys::write_file(blob(codec::digest_of("x")), "x"));
  EXPECT_THAT(fsck(), ElementsAre("blob-orphan"));
  ASSERT_TRUE(sys::remove_file(blob(codec::digest_of("x"))));
  ASSERT_TRUE(sys::write_file(root_ / "content/blobs/sha256/readme", "x"));
  EXPECT_THAT(fsck(), ElementsAre("content-stray"));
  ASSERT_TRUE(sys::remove_file(root_ / "content/blobs/sha256/readme"));

  ASSERT_TRUE(sys::write_file(root_ / "content/ingest/00", "x"));
  EXPECT_THAT(fsck(), ElementsAre("ingest-orphan"));
  ASSERT_TRUE(sys::remove_file(root_ / "content/ingest/00"));
  sys::Path half = half_ingest();
  EXPECT_THAT(fsck(), IsEmpty());
  ASSERT_TRUE(sys::write_file(half, "a"));
  EXPECT_THAT(fsck(), ElementsAre("ingest-short"));
  ASSERT_TRUE(sys::remove_file(half));
  EXPECT_THAT(fsck(), ElementsAre("ingest-missing"));
}

TEST_F(LocalContentStoreTest, FsckIsQuietBesideWork) {
  auto open_ingest = *store_->ingest(context_, "r", {});
  ASSERT_TRUE(open_ingest->write(as_bytes("abc")));
  Digest digest = put("gone soon");
  ASSERT_TRUE(store_->remove(context_, digest));
  EXPECT_TRUE(sys::path_exists(blob(digest)));
  EXPECT_THAT(fsck(), IsEmpty()) << "a tombstone stands for the file";
}

TEST_F(LocalContentStoreTest, RecoverRemovesWhatHasNoRow) {
  put("kept");
  ASSERT_TRUE(sys::write_file(blob(codec::digest_of("x")), "x"));
  ASSERT_TRUE(sys::write_file(root_ / "content/ingest/00", "x"));
  EXPECT_EQ(recover().orphans_removed, 2u);
}

TEST_F(LocalContentStoreTest, RecoverDropsIngestsWithoutFiles) {
  ASSERT_TRUE(sys::remove_file(half_ingest()));
  EXPECT_EQ(recover().ingests_dropped, 1u);
  EXPECT_THAT(*store_->ingests(context_), IsEmpty());
}

TEST_F(LocalContentStoreTest, ARenamedIngestWithoutARowBecomesAnIngestAgain) {
  {
    auto ingest = *store_->ingest(context_, "whole", {codec::digest_of("abc"), 3});
    ASSERT_TRUE(ingest->write(as_bytes("abc")));
  }
  auto names = *sys::list_dir(root_ / "content/ingest");
  std::filesystem::rename(root_ / "content/ingest" / names[0], blob(codec::digest_of("abc")));
  open("boot-1");
  EXPECT_EQ(recover().ingests_returned, 1u);
  auto ingest = *store_->ingest(context_, "whole", {codec::digest_of("abc"), 3});
  EXPECT_EQ(ingest->offset(), 3u);
  EXPECT_TRUE(ingest->commit(context_, {}, {}));
}

TEST_F(LocalContentStoreTest, AnIngestOfAnotherBootStartsAnew) {
  half_ingest();
  open("boot-2");
  {
    auto ingest = *store_->ingest(context_, "half", {});
    EXPECT_EQ(ingest->offset(), 0u) << "even without recover";
    ASSERT_TRUE(ingest->write(as_bytes("a")));
  }
  open("boot-3");
  EXPECT_EQ(recover().ingests_reset, 1u);
  EXPECT_EQ((*store_->ingest(context_, "half", {}))->offset(), 0u);
}

TEST_F(LocalContentStoreTest, AnIngestWhoseFileIsShortStartsAnew) {
  ASSERT_TRUE(sys::write_file(half_ingest(), "a"));
  EXPECT_EQ((*store_->ingest(context_, "half", {}))->offset(), 0u);
}

TEST_F(LocalContentStoreTest, AfterARebootUnconfirmedBlobsAreReadBack) {
  Digest durable = put("durable");
  Digest whole = put("whole", Durability::kRides);
  Digest torn = put("torn", Durability::kRides);
  Digest lost = put("lost", Durability::kRides);
  EXPECT_EQ(store_->info(context_, whole)->unconfirmed_boot, "boot-1");
  EXPECT_EQ(store_->info(context_, durable)->unconfirmed_boot, "");
  ASSERT_TRUE(store_->share(context_.with_namespace("other"), torn, {}));
  make_writable(blob(torn));
  ASSERT_TRUE(sys::write_file(blob(torn), std::string(4, '\0')));
  ASSERT_TRUE(sys::remove_file(blob(lost)));

  open("boot-1");
  EXPECT_THAT(store_->recover(context_)->blobs_lost, IsEmpty()) << "the same boot: nothing lost";
  open("boot-2");
  auto recovery = store_->recover(context_);
  ASSERT_TRUE(recovery);
  EXPECT_THAT(recovery->blobs_lost, testing::UnorderedElementsAre(torn, lost));
  EXPECT_EQ(store_->info(context_, whole)->unconfirmed_boot, "");
  EXPECT_TRUE(store_->info(context_, torn).error().is(Code::kNotFound));
  EXPECT_TRUE(store_->info(context_.with_namespace("other"), torn).error().is(Code::kNotFound));
  EXPECT_TRUE(sweep());
  EXPECT_THAT(fsck(), IsEmpty());
  EXPECT_FALSE(sys::path_exists(blob(torn)));
}

TEST_F(LocalContentStoreTest, ADurableCommitConfirmsABlobThatRode) {
  Digest digest = put("abc", Durability::kRides);
  auto again = *store_->ingest(context_.with_namespace("other"), "r", {});
  ASSERT_TRUE(again->write(as_bytes("abc")));
  ASSERT_TRUE(again->commit(context_.with_namespace("other"), {}, {}));
  EXPECT_EQ(store_->info(context_, digest)->unconfirmed_boot, "");
}

TEST_F(LocalContentStoreTest, TheSweepSparesABlobThatCameBack) {
  Digest digest = put("abc");
  ASSERT_TRUE(store_->remove(context_, digest));
  put("abc");
  // A sweep that had read the tombstone before.
  ASSERT_TRUE(
      store_->remove_files(context_, "blob", fmt::format("content/blobs/sha256/{}", digest.hex())));
  EXPECT_TRUE(store_->open(context_, digest));
  ASSERT_TRUE(store_->remove(context_, digest));
  ASSERT_TRUE(sweep());
  EXPECT_FALSE(sys::path_exists(blob(digest)));
  EXPECT_FALSE(store_->remove_files(context_, "blob", "content/blobs/sha256/../../../metadata.db"));
  EXPECT_TRUE(sys::path_exists(root_ / "metadata.db"));
}

TEST_F(LocalContentStoreTest, TheReserveIsKeptFree) {
  uint64_t free = *sys::free_bytes(root_);
  open("boot-1", free * 2);
  auto refused = store_->ingest(context_, "r", {codec::digest_of("abc"), 3});
  ASSERT_TRUE(refused.error().is(Code::kResourceExhausted));
  EXPECT_THAT(refused.error().message(), HasSubstr("reserve"));
  EXPECT_THAT(*store_->ingests(context_), IsEmpty());
  EXPECT_THAT(fsck(), IsEmpty());
  // Without a known size the writer is stopped on its way.
  auto ingest = *store_->ingest(context_, "r", {});
  std::string piece(4 << 20, 'x');
  Status status;
  for (int i = 0; status && i < 4; ++i) status = ingest->write(as_bytes(piece));
  EXPECT_TRUE(status.error().is(Code::kResourceExhausted));
}

TEST_F(LocalContentStoreTest, AFullDiskIsAnErrorAndTheIngestResumes) {
  ASSERT_EQ(unshare(CLONE_NEWNS), 0) << "this test needs root";
  ASSERT_TRUE(sys::make_private("/"));
  sys::Path disk = root_ / "content/ingest";
  ASSERT_TRUE(sys::mount_tmpfs(disk, {"size=1m"}));
  sys::MountGuard guard(disk);
  std::string piece(300'000, 'x');
  uint64_t kept = 0;
  {
    auto ingest = *store_->ingest(context_, "r", {});
    Status status;
    while ((status = ingest->write(as_bytes(piece)))) kept += piece.size();
    EXPECT_TRUE(status.error().is(Code::kResourceExhausted));
    EXPECT_EQ(status.error().sys_errno(), ENOSPC);
    EXPECT_THAT(status.error().message(), HasSubstr("ingest r"));
    EXPECT_EQ(ingest->offset(), kept);
  }
  ASSERT_GT(kept, 0u);
  ASSERT_TRUE(sys::mount("tmpfs", "tmpfs", {"remount", "size=8m"}, disk));
  auto ingest = *store_->ingest(context_, "r", {});
  EXPECT_EQ(ingest->offset(), kept);
  EXPECT_TRUE(ingest->write(as_bytes(piece)));
  // The blobs are on another file system here, so the rename fails: the ingest must survive that.
  EXPECT_EQ(ingest->commit(context_, {}, {}).error().sys_errno(), EXDEV);
  EXPECT_TRUE(ingest->write(as_bytes("more")));
}

TEST_F(LocalContentStoreTest, ACommitWhoseRowFailsKeepsTheIngest) {
  auto ingest = *store_->ingest(context_, "r", {codec::digest_of("abc"), 3});
  ASSERT_TRUE(ingest->write(as_bytes("abc")));
  Labels too_long = {{"key", std::string(5000, 'x')}};
  EXPECT_TRUE(
      ingest->commit(context_, {}, {.labels = too_long}).error().is(Code::kInvalidArgument));
  EXPECT_FALSE(sys::path_exists(blob(codec::digest_of("abc"))));
  EXPECT_THAT(fsck(), IsEmpty());
  EXPECT_TRUE(ingest->commit(context_, {}, {}));
}

TEST_F(LocalContentStoreTest, BlobsAreReadOnlyFilesOfTheirOwner) {
  Digest digest = put("abc");
  EXPECT_EQ(sys::stat_path(blob(digest))->st_mode & 0777, 0444u);
  EXPECT_EQ(sys::stat_path(root_ / "content")->st_mode & 0777, 0700u);
}

}  // namespace
}  // namespace skiff::content
