#include "snapshot/native/native_driver.h"

#include "snapshot/place.h"
#include "sys/copy_tree.h"

namespace skiff::snapshot {

Status NativeDriver::make(const Context& context, const Place& place) {
  SKIFF_TRY(make_empty(place_folder(place.id)));
  SKIFF_TRY(sys::make_dir(layer_folder(place.id)));
  if (place.kind != Kind::kActive || place.parents.empty()) return ok();
  return sys::copy_tree(context, layer_folder(place.parents[0]), layer_folder(place.id));
}

std::vector<Mount> NativeDriver::mounts(const Place& place) const {
  if (place.kind == Kind::kActive) return {bind_of(layer_folder(place.id), false)};
  // Nobody writes through a view, so the parent itself will do.
  int64_t shown = place.parents.empty() ? place.id : place.parents[0];
  return {bind_of(layer_folder(shown), true)};
}

std::optional<Finding> NativeDriver::check(const Place& place) const {
  return check_folder(place_folder(place.id), layer_folder(place.id));
}

}  // namespace skiff::snapshot
