#include "runtime/bundle.h"

#include "sys/mount.h"

namespace skiff::runtime {

Status Bundle::make() const {
  SKIFF_TRY(sys::make_dirs(folder_, 0711));
  return sys::make_dirs(rootfs(), 0711);
}

Status Bundle::write_config(const json::Value& spec) const {
  return sys::write_file(config(), json::dump(spec), 0600);
}

Status Bundle::remove() const {
  auto mounts = SKIFF_TRY(sys::mounts_below(folder_));
  if (!mounts.empty())
    return fail(Code::kFailedPrecondition, "{} is still mounted", mounts.front().target);
  return sys::remove_tree(folder_);
}

Status check_id(std::string_view id) {
  auto plain = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  };
  bool good = !id.empty() && id.size() <= 128 && plain(id[0]);
  for (char c : id) good = good && (plain(c) || c == '_' || c == '.' || c == '-');
  if (!good) return fail(Code::kInvalidArgument, "id {:?}: use 1 to 128 of a-z A-Z 0-9 _ . -", id);
  return ok();
}

}  // namespace skiff::runtime
