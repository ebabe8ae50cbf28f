// Layers as whole copies, for hosts without overlay: <root>/snapshots/native/<id>/fs starts as a
// copy of the parent's, with everything a file can have; reflinks where the file system knows them.
#pragma once

#include "snapshot/driver.h"

namespace skiff::snapshot {

class NativeDriver final : public Driver {
 public:
  // `root` as LocalSnapshotter's.
  explicit NativeDriver(const sys::Path& root)
      : folder_(std::filesystem::absolute(root) / "snapshots" / "native") {}

  const std::string& name() const override { return name_; }
  Capabilities capabilities() const override { return {}; }
  Status make(const Context& context, const Place& place) override;
  std::vector<Mount> mounts(const Place& place) const override;
  sys::Path layer_folder(int64_t id) const override { return place_folder(id) / "fs"; }
  void seal(int64_t) override {}
  Status remove(int64_t id) override { return sys::remove_tree(place_folder(id)); }
  std::optional<Finding> check(const Place& place) const override;

 private:
  sys::Path place_folder(int64_t id) const { return folder_ / std::to_string(id); }

  const std::string name_ = "native";
  sys::Path folder_;
};

}  // namespace skiff::snapshot
