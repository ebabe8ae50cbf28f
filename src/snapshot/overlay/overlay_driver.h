// Layers for overlayfs: <root>/snapshots/overlay/<id>/{fs,work}. Parents stay apart and are stacked
// when mounted, so layers can be unpacked side by side and given their parent at commit.
#pragma once

#include <memory>

#include "snapshot/driver.h"

namespace skiff::snapshot {

class OverlayDriver final : public Driver {
 public:
  // `root` as LocalSnapshotter's. Finds out by mounting which options this kernel and file system
  // take; Unimplemented says why overlays do not work here. InvalidArgument for a root whose path
  // has a character that mount options cannot hold (',', ':', '\').
  static Result<std::unique_ptr<OverlayDriver>> open(const sys::Path& root);

  const std::string& name() const override { return name_; }
  Capabilities capabilities() const override { return {.rebase = true}; }
  Status make(const Context& context, const Place& place) override;
  std::vector<Mount> mounts(const Place& place) const override;
  sys::Path layer_folder(int64_t id) const override { return place_folder(id) / "fs"; }
  void seal(int64_t id) override;
  Status remove(int64_t id) override { return sys::remove_tree(place_folder(id)); }
  std::optional<Finding> check(const Place& place) const override;

  // What every overlay of this driver is mounted with.
  const std::vector<std::string>& options() const { return options_; }

 private:
  OverlayDriver(sys::Path folder, std::vector<std::string> options)
      : folder_(std::move(folder)), options_(std::move(options)) {}
  sys::Path place_folder(int64_t id) const { return folder_ / std::to_string(id); }
  sys::Path work_folder(int64_t id) const { return place_folder(id) / "work"; }

  const std::string name_ = "overlay";
  sys::Path folder_;
  std::vector<std::string> options_;
};

}  // namespace skiff::snapshot
