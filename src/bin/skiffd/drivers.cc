#include "bin/skiffd/drivers.h"

#include "base/log.h"
#include "metadata/store.h"
#include "snapshot/local_snapshotter.h"
#include "snapshot/native/native_driver.h"
#include "snapshot/overlay/overlay_driver.h"

namespace skiff::daemon {
namespace {

using DriverPtr = std::unique_ptr<snapshot::Driver>;

// Snapshotters with folders of our own: a new one is a row here.
struct LocalRow {
  const char* name;
  Result<DriverPtr> (*open)(const sys::Path& root);
};
constexpr LocalRow kLocalSnapshotters[] = {
    {"overlay",
     [](const sys::Path& root) -> Result<DriverPtr> {
       return DriverPtr(SKIFF_TRY(snapshot::OverlayDriver::open(root)));
     }},
    {"native",
     [](const sys::Path& root) -> Result<DriverPtr> {
       return std::make_unique<snapshot::NativeDriver>(root);
     }},
};

Result<Driver> open_local(const LocalRow& row, metadata::Store& store, const sys::Path& root) {
  auto folders = SKIFF_TRY(row.open(root));
  auto snapshotter =
      SKIFF_TRY(snapshot::LocalSnapshotter::open(store, std::move(folders), {.root = root}));
  auto* local = snapshotter.get();
  return Driver{
      .snapshotter = std::move(snapshotter),
      .recover = [local](const Context& context) -> Status {
        SKIFF_TRY(local->recover(context));
        return ok();
      },
      .find_suspects = [local](const Context& context) -> Status {
        SKIFF_TRY(local->find_suspects(context));
        return ok();
      },
      .remove_files =
          [local](const Context& context, const std::string& kind, const std::string& path) {
            return local->remove_files(context, kind, path);
          },
      .fsck = [local](const Context& context) { return local->fsck(context); },
      .layer_folder = [local](int64_t id) { return local->layer_folder(id); }};
}

}  // namespace

Result<std::vector<Driver>> open_drivers(const Settings& settings, metadata::Store& store) {
  std::vector<Driver> drivers;
  auto add = [&](const std::string& name, Result<Driver> driver) -> Status {
    bool is_default = settings.snapshotter.fallback == name;
    if (!driver) {
      Error error = driver.error().wrap("snapshotter " + name);
      if (is_default) return std::unexpected(std::move(error));
      log::warning("snapshotter not available", {{"error", error}});
      return ok();
    }
    drivers.insert(is_default ? drivers.begin() : drivers.end(), *std::move(driver));
    return ok();
  };
  for (const LocalRow& row : kLocalSnapshotters)
    SKIFF_TRY(add(row.name, open_local(row, store, settings.root)));
  for (const auto& [name, proxy] : settings.snapshotter.proxies)
    SKIFF_TRY(add(name, open_proxy(store, name, proxy)));
  return drivers;
}

}  // namespace skiff::daemon
