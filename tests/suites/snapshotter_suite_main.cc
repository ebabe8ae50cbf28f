// Every Snapshotter runs the suite.
#include "tests/suites/snapshotter_suite.h"

#include "base/check.h"
#include "metadata/gc.h"
#include "snapshot/local_snapshotter.h"
#include "snapshot/memory_snapshotter.h"
#include "snapshot/native/native_driver.h"
#include "snapshot/overlay/overlay_driver.h"

namespace skiff::snapshot {
namespace {

class MemoryHarness final : public SnapshotterHarness {
 public:
  Snapshotter& snapshotter() override { return snapshotter_; }

 private:
  MemorySnapshotter snapshotter_;
};

class LocalHarness : public SnapshotterHarness {
 public:
  using MakeDriver = std::function<std::unique_ptr<Driver>(const sys::Path& root)>;
  explicit LocalHarness(MakeDriver make_driver) : make_driver_(std::move(make_driver)) { open(); }
  ~LocalHarness() override {
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
    EXPECT_TRUE(snapshotter_->recover(Context()));
  }

 private:
  void open() {
    metadata_ = *metadata::Store::open(root_.path() / "metadata.db", {});
    snapshotter_ = *LocalSnapshotter::open(*metadata_, make_driver_(root_.path()), {root_.path()});
  }

  MakeDriver make_driver_;
  sys::TempDir root_;
  std::unique_ptr<metadata::Store> metadata_;
  std::unique_ptr<LocalSnapshotter> snapshotter_;
};

std::unique_ptr<Driver> overlay(const sys::Path& root) {
  auto driver = OverlayDriver::open(root);
  SKIFF_CHECK(driver.has_value(), "overlays work where the tests run");
  return *std::move(driver);
}

std::unique_ptr<Driver> native(const sys::Path& root) {
  return std::make_unique<NativeDriver>(root);
}

std::string name_of(const testing::TestParamInfo<SnapshotterImplementation>& info) {
  return info.param.name;
}

INSTANTIATE_TEST_SUITE_P(
    All, SnapshotterSuite,
    testing::Values(
        SnapshotterImplementation{"Memory", [] { return std::make_unique<MemoryHarness>(); }},
        SnapshotterImplementation{"Overlay",
                                  [] { return std::make_unique<LocalHarness>(overlay); }},
        SnapshotterImplementation{"Native", [] { return std::make_unique<LocalHarness>(native); }}),
    name_of);

}  // namespace
}  // namespace skiff::snapshot
