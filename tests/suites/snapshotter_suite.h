// What every Snapshotter must do. An implementation joins with a harness and one
// INSTANTIATE_TEST_SUITE_P in snapshotter_suite_main.cc. Mounts for real, in a mount namespace of
// the program's own.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "snapshot/snapshotter.h"

namespace skiff::snapshot {

class SnapshotterHarness {
 public:
  virtual ~SnapshotterHarness() = default;
  virtual Snapshotter& snapshotter() = 0;
  // Ends it and opens it again as a new daemon would; nothing for one without a disk.
  virtual void restart() {}
};

struct SnapshotterImplementation {
  std::string name;
  std::function<std::unique_ptr<SnapshotterHarness>()> make;
};

class SnapshotterSuite : public ::testing::TestWithParam<SnapshotterImplementation> {
 protected:
  static void SetUpTestSuite();
  void SetUp() override { harness_ = GetParam().make(); }
  Snapshotter& snapshotter() { return harness_->snapshotter(); }

  // Runs `work` on the mounted root.
  void with_mounted(const Result<std::vector<Mount>>& mounts,
                    const std::function<void(const sys::Path& root)>& work);
  // A committed layer on `parent` whose writer did `work`.
  void layer(const std::string& name, const std::string& parent,
             const std::function<void(const sys::Path& root)>& work,
             const CommitOptions& options = {});

  std::unique_ptr<SnapshotterHarness> harness_;
  Context context_;
  Context other_ = Context().with_namespace("other");
};

}  // namespace skiff::snapshot
