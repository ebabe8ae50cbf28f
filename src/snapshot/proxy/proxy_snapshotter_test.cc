#include "snapshot/proxy/proxy_snapshotter.h"

#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "metadata/gc.h"
#include "snapshot/intent.h"
#include "snapshot/memory_snapshotter.h"
#include "tests/lib/snapshot_server.h"

namespace skiff::snapshot {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Key;
using ::testing::Not;
using ::testing::Pair;

const CrashPoint kTest{"proxy.test"};

class ProxySnapshotterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    serve();
    metadata_ = *metadata::Store::open(root_.path() / "metadata.db", {});
    proxy_ = *ProxySnapshotter::open(
        *metadata_,
        {.name = "external", .socket = socket_, .backend_name = "theirs", .remote = true});
    ASSERT_TRUE(sys::make_dirs(tree_));
    ASSERT_TRUE(sys::write_file(tree_ / "file", "remote"));
  }
  void serve() { server_ = std::make_unique<testing::SnapshotServer>(backend_, socket_); }
  Status sweep() {
    return metadata::sweep_tombstones(context_, *metadata_, [&](auto& kind, auto& path) {
      return proxy_->remove_files(context_, kind, path);
    });
  }
  std::vector<std::string> backend_names() {
    std::vector<std::string> names;
    EXPECT_TRUE(backend_.walk(context_, {}, [&](const SnapshotInfo& info) {
      names.push_back(info.key);
      return ok();
    }));
    return names;
  }
  std::vector<std::string> fsck() {
    std::vector<std::string> kinds;
    auto findings = proxy_->fsck(context_);
    EXPECT_TRUE(findings);
    for (const Finding& finding : *findings) kinds.push_back(finding.kind);
    return kinds;
  }
  static Labels ask(const std::string& chain, const std::string& digest) {
    return {{kTargetLabel, chain}, {kRemoteRefLabel, "r/e:f"}, {kRemoteDigestLabel, digest}};
  }

  Context context_;
  Context other_ = Context().with_namespace("other");
  sys::TempDir root_;
  sys::Path socket_ = root_.path() / "backend.sock";
  sys::Path tree_ = root_.path() / "tree";
  MemorySnapshotter backend_;
  std::unique_ptr<testing::SnapshotServer> server_;
  std::unique_ptr<metadata::Store> metadata_;
  std::unique_ptr<ProxySnapshotter> proxy_;
};

TEST_F(ProxySnapshotterTest, OnlyInheritedLabelsReachTheBackend) {
  Labels labels = {{"containerd.io/snapshot/note", "1"},
                   {kTargetLabel, "chain"},
                   {"own", "2"},
                   {kRemoteLabel, "a client's lie"}};
  ASSERT_TRUE(proxy_->prepare(context_, "key", "", labels));
  EXPECT_THAT(backend_.prepared_labels(),
              ElementsAre(Labels{{"containerd.io/snapshot/note", "1"}, {kTargetLabel, "chain"}}));
  auto info = proxy_->stat(context_, "key");
  EXPECT_THAT(info->labels, Contains(Pair("own", "2")));
  EXPECT_THAT(info->labels, Not(Contains(Key(kRemoteLabel))));
  EXPECT_THAT(backend_names(), ElementsAre("skiff/1/active"));
  ASSERT_TRUE(proxy_->commit(context_, "name", "key", {.labels = {{kRemoteMadeLabel, "lie"}}}));
  EXPECT_THAT(proxy_->stat(context_, "name")->labels, IsEmpty());
  EXPECT_THAT(backend_names(), ElementsAre("skiff/1"));
}

TEST_F(ProxySnapshotterTest, TheContractOf2019) {
  backend_.set_remote(MemorySnapshotter::Contract::k2019, {{"sha256:layer", tree_}});
  ASSERT_TRUE(proxy_->prepare(context_, "key", "", ask("chain", "sha256:layer")));
  EXPECT_THAT(proxy_->stat(context_, "key")->labels, Contains(Key(kRemoteLabel)));
  ASSERT_TRUE(proxy_->commit(context_, "chain", "key", {.layer_source = "{}"}));
  auto info = proxy_->stat(context_, "chain");
  EXPECT_THAT(info->labels, Contains(Key(kRemoteLabel))) << "it stays known as remote";
  EXPECT_EQ(info->layer_source, "{}");
  // A miss: an ordinary active snapshot.
  ASSERT_TRUE(proxy_->prepare(context_, "next", "chain", ask("chain2", "sha256:unknown")));
  EXPECT_THAT(proxy_->stat(context_, "next")->labels, Not(Contains(Key(kRemoteLabel))));
  EXPECT_THAT(fsck(), IsEmpty());
}

TEST_F(ProxySnapshotterTest, TodaysContract) {
  backend_.set_remote(MemorySnapshotter::Contract::kToday, {{"chain", tree_}, {"chain2", tree_}});
  auto made = proxy_->prepare(context_, "key", "", ask("chain", "sha256:layer"));
  EXPECT_TRUE(made.error().is(Code::kAlreadyExists));
  auto info = proxy_->stat(context_, "chain");
  ASSERT_TRUE(info);
  EXPECT_EQ(info->kind, Kind::kCommitted);
  EXPECT_THAT(info->labels, Contains(Key(kRemoteMadeLabel)));
  EXPECT_FALSE(proxy_->stat(context_, "key"));
  EXPECT_FALSE(proxy_->stat(other_, "chain")) << "it is bound to the caller's namespace";

  // The next on top of it, then a miss, then a container.
  made = proxy_->prepare(context_, "key", "chain", ask("chain2", "sha256:layer2"));
  EXPECT_TRUE(made.error().is(Code::kAlreadyExists));
  EXPECT_EQ(proxy_->stat(context_, "chain2")->parent, "chain");
  ASSERT_TRUE(proxy_->prepare(context_, "key", "chain2", ask("chain3", "sha256:layer3")));
  ASSERT_TRUE(proxy_->commit(context_, "chain3", "key", {}));
  ASSERT_TRUE(proxy_->prepare(context_, "container", "chain3", {}));
  EXPECT_THAT(fsck(), IsEmpty());
}

TEST_F(ProxySnapshotterTest, NamespacesShareWhatTheBackendMade) {
  backend_.set_remote(MemorySnapshotter::Contract::kToday, {{"chain", tree_}});
  for (const Context* context : {&context_, &other_}) {
    auto made = proxy_->prepare(*context, "key", "", ask("chain", "sha256:layer"));
    EXPECT_TRUE(made.error().is(Code::kAlreadyExists));
    EXPECT_TRUE(proxy_->stat(*context, "chain"));
  }
  ASSERT_TRUE(proxy_->remove(context_, "chain"));
  EXPECT_THAT(fsck(), IsEmpty());
  ASSERT_TRUE(sweep());
  EXPECT_THAT(backend_names(), ElementsAre("chain")) << "the other namespace still has it";
  ASSERT_TRUE(proxy_->remove(other_, "chain"));
  ASSERT_TRUE(sweep());
  EXPECT_THAT(backend_names(), IsEmpty());
}

TEST_F(ProxySnapshotterTest, AMadeLayerOnAnotherParentIsNotBelieved) {
  backend_.set_remote(MemorySnapshotter::Contract::kToday, {{"chain", tree_}});
  ASSERT_TRUE(proxy_->prepare(context_, "w", "", {}));
  ASSERT_TRUE(proxy_->commit(context_, "base", "w", {}));
  EXPECT_TRUE(
      proxy_->prepare(context_, "key", "", ask("chain", "d")).error().is(Code::kAlreadyExists));
  ASSERT_TRUE(proxy_->prepare(other_, "x", "", {}));
  ASSERT_TRUE(proxy_->commit(other_, "base", "x", {}));
  auto wrong = proxy_->prepare(other_, "key", "base", ask("chain", "d"));
  EXPECT_TRUE(wrong.error().is(Code::kFailedPrecondition));
  EXPECT_FALSE(proxy_->stat(other_, "chain"));
  EXPECT_THAT(fsck(), IsEmpty());
}

TEST_F(ProxySnapshotterTest, ErrorsKeepTheirCodeAndNameTheSnapshotter) {
  backend_.set_fault([](std::string_view operation) -> Status {
    if (operation == "prepare") return fail(Code::kResourceExhausted, "the disk is full");
    return ok();
  });
  auto status = proxy_->prepare(context_, "key", "", {});
  EXPECT_TRUE(status.error().is(Code::kResourceExhausted));
  EXPECT_THAT(status.error().message(), HasSubstr("snapshotter theirs"));
  EXPECT_FALSE(proxy_->stat(context_, "key"));
  backend_.set_fault({});
  EXPECT_TRUE(proxy_->prepare(context_, "key", "", {})) << "nothing was left in the way";
}

TEST_F(ProxySnapshotterTest, ABackendMayGoAndComeBack) {
  ASSERT_TRUE(proxy_->prepare(context_, "a", "", {}));
  server_.reset();
  EXPECT_TRUE(proxy_->prepare(context_, "b", "", {}).error().is(Code::kUnavailable));
  EXPECT_TRUE(proxy_->mounts(context_, "a").error().is(Code::kUnavailable));
  auto recovery = proxy_->recover(context_);
  ASSERT_TRUE(recovery);
  EXPECT_FALSE(recovery->reachable);
  serve();
  Context patient = context_.with_timeout(std::chrono::seconds(30));
  Status back;
  while (!(back = proxy_->mounts(context_, "a") ? ok() : fail(Code::kUnavailable, "not yet")) &&
         patient.check())
    std::this_thread::yield();
  EXPECT_TRUE(back);
  recovery = proxy_->recover(context_);
  EXPECT_TRUE(recovery->reachable);
  EXPECT_EQ(recovery->intents_undone, 1u) << "b's could not be undone while nobody answered";
  EXPECT_TRUE(proxy_->prepare(context_, "b", "", {}));
}

TEST_F(ProxySnapshotterTest, RecoverPutsRightWhatACrashLeft) {
  // A prepare that reached the backend only.
  ASSERT_TRUE(
      metadata_->write(context_, kTest, metadata::Durability::kRides, [](auto& txn) -> Status {
        SKIFF_TRY(metadata::intents::put(txn, kPrepareIntent, intent_body({"external", 77})));
        return ok();
      }));
  ASSERT_TRUE(backend_.prepare(context_, "skiff/77/active", "", {}));
  // Layers whose rows are gone, a child among them.
  ASSERT_TRUE(backend_.prepare(context_, "skiff/78/active", "", {}));
  ASSERT_TRUE(backend_.commit(context_, "skiff/78", "skiff/78/active", {}));
  ASSERT_TRUE(backend_.prepare(context_, "skiff/79/active", "skiff/78", {}));
  EXPECT_THAT(fsck(), ElementsAre("layer-orphan", "layer-orphan"));
  // A commit that reached the backend only.
  ASSERT_TRUE(proxy_->prepare(context_, "lost", "", {}));
  ASSERT_TRUE(proxy_->prepare(context_, "kept", "", {}));
  ASSERT_TRUE(backend_.commit(context_, "skiff/1", "skiff/1/active", {}));
  EXPECT_THAT(fsck(), Contains("layer-missing"));

  auto recovery = proxy_->recover(context_);
  ASSERT_TRUE(recovery) << recovery.error().message();
  EXPECT_EQ(recovery->intents_undone, 1u);
  EXPECT_EQ(recovery->rows_dropped, 1u);
  EXPECT_EQ(recovery->snapshots_removed, 3u);
  EXPECT_THAT(backend_names(), ElementsAre("skiff/2/active"));
  EXPECT_TRUE(proxy_->stat(context_, "kept"));
  EXPECT_THAT(fsck(), IsEmpty());
}

TEST_F(ProxySnapshotterTest, ASocketIsAPlainPath) {
  for (const char* bad : {"unix:///run/x.sock", "run/x.sock", ""})
    EXPECT_TRUE(ProxySnapshotter::open(*metadata_, {.name = "x", .socket = bad})
                    .error()
                    .is(Code::kInvalidArgument))
        << bad;
}

}  // namespace
}  // namespace skiff::snapshot
