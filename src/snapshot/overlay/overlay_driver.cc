#include "snapshot/overlay/overlay_driver.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "snapshot/place.h"
#include "sys/mount.h"

namespace skiff::snapshot {
namespace {

// Best first. No index: a layer is used by many mounts at once. No redirects and no metadata-only
// copies: an upper folder then holds all that a diff needs to know. userxattr is what a user
// namespace must have.
const std::vector<std::string> kOptions[] = {
    {"index=off", "redirect_dir=off", "metacopy=off"},
    {"index=off"},
    {},
    {"index=off", "userxattr"},
    {"userxattr"},
};

Result<std::vector<std::string>> probe(const sys::Path& folder) {
  sys::TempDir scratch("probe-", folder);
  Status status;
  for (const auto& options : kOptions) {
    status = sys::probe_overlay(scratch.path(), options);
    if (status) return options;
  }
  return fail(Code::kUnimplemented,
              "overlays do not work in {} ({}); choose the snapshotter \"native\"", folder.string(),
              status.error().message());
}

}  // namespace

Result<std::unique_ptr<OverlayDriver>> OverlayDriver::open(const sys::Path& root) {
  sys::Path folder = std::filesystem::absolute(root) / "snapshots" / "overlay";
  if (folder.string().find_first_of(",:\\") != std::string::npos)
    return fail(Code::kInvalidArgument,
                "the root {} has a ',', ':' or '\\' in its path, which overlay mounts cannot take",
                root.string());
  SKIFF_TRY(sys::make_dirs(folder, 0700));
  auto options = SKIFF_TRY(probe(folder));
  return std::unique_ptr<OverlayDriver>(new OverlayDriver(std::move(folder), std::move(options)));
}

Status OverlayDriver::make(const Context& context, const Place& place) {
  SKIFF_TRY(context.check());
  SKIFF_TRY(make_empty(place_folder(place.id)));
  SKIFF_TRY(sys::make_dir(layer_folder(place.id)));
  if (place.kind != Kind::kActive) return ok();
  if (!place.parents.empty())
    SKIFF_TRY(copy_top_attributes(layer_folder(place.parents[0]), layer_folder(place.id)));
  return sys::make_dir(work_folder(place.id), 0700);
}

std::vector<Mount> OverlayDriver::mounts(const Place& place) const {
  bool active = place.kind == Kind::kActive;
  if (place.parents.empty()) return {bind_of(layer_folder(place.id), !active)};
  if (!active && place.parents.size() == 1) return {bind_of(layer_folder(place.parents[0]), true)};
  std::vector<std::string> options = options_;
  if (active) {
    options.push_back("workdir=" + work_folder(place.id).string());
    options.push_back("upperdir=" + layer_folder(place.id).string());
  }
  std::string lowers = "lowerdir=";
  for (int64_t parent : place.parents)
    lowers += (lowers.back() == '=' ? "" : ":") + layer_folder(parent).string();
  options.push_back(std::move(lowers));
  return {{"overlay", "overlay", "", std::move(options)}};
}

void OverlayDriver::seal(int64_t id) {
  // A mount of it may live on for a moment; what is left then goes with the layer.
  if (Status status = sys::remove_tree(work_folder(id)); !status)
    log::debug("the work folder of a layer is left", {{"id", id}, {"error", status.error()}});
}

std::optional<Finding> OverlayDriver::check(const Place& place) const {
  if (auto finding = check_folder(place_folder(place.id), layer_folder(place.id))) return finding;
  if (place.kind != Kind::kActive || sys::path_exists(work_folder(place.id))) return std::nullopt;
  return Finding{"layer-incomplete", place_folder(place.id).string(),
                 "an active snapshot has no work folder"};
}

}  // namespace skiff::snapshot
