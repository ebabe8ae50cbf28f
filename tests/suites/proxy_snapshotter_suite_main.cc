// The proxy snapshotter, over an external one in this process, runs the suite of all snapshotters.
#include "metadata/gc.h"
#include "snapshot/memory_snapshotter.h"
#include "snapshot/proxy/proxy_snapshotter.h"
#include "tests/lib/snapshot_server.h"
#include "tests/suites/snapshotter_suite.h"

namespace skiff::snapshot {
namespace {

class ProxyHarness final : public SnapshotterHarness {
 public:
  ProxyHarness() : server_(backend_, root_.path() / "backend.sock") { open(); }
  ~ProxyHarness() override {
    auto swept = metadata::sweep_tombstones(Context(), *metadata_, [&](auto& kind, auto& path) {
      return snapshotter_->remove_files(Context(), kind, path);
    });
    EXPECT_TRUE(swept);
    auto findings = snapshotter_->fsck(Context());
    EXPECT_TRUE(findings);
    for (const Finding& finding : *findings)
      ADD_FAILURE() << finding.kind << " " << finding.subject << ": " << finding.detail;
  }
  Snapshotter& snapshotter() override { return *snapshotter_; }
  void restart() override {
    snapshotter_.reset();
    metadata_.reset();
    open();
    auto recovery = snapshotter_->recover(Context());
    ASSERT_TRUE(recovery);
    EXPECT_EQ(recovery->snapshots_removed, 0u);
    EXPECT_EQ(recovery->rows_dropped, 0u);
  }

 private:
  void open() {
    metadata_ = *metadata::Store::open(root_.path() / "metadata.db", {});
    snapshotter_ = *ProxySnapshotter::open(
        *metadata_, {.name = "external", .socket = root_.path() / "backend.sock"});
  }

  sys::TempDir root_;
  MemorySnapshotter backend_;
  testing::SnapshotServer server_;
  std::unique_ptr<metadata::Store> metadata_;
  std::unique_ptr<ProxySnapshotter> snapshotter_;
};

INSTANTIATE_TEST_SUITE_P(All, SnapshotterSuite,
                         ::testing::Values(SnapshotterImplementation{
                             "Proxy", [] { return std::make_unique<ProxyHarness>(); }}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace skiff::snapshot
