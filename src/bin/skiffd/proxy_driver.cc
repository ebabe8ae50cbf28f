#include "bin/skiffd/drivers.h"
#include "snapshot/proxy/proxy_snapshotter.h"

namespace skiff::daemon {

Result<Driver> open_proxy(metadata::Store& store, const std::string& name,
                          const Settings::Proxy& proxy) {
  auto snapshotter = SKIFF_TRY(snapshot::ProxySnapshotter::open(
      store, {.name = name, .socket = proxy.address, .remote = proxy.remote}));
  auto* backend = snapshotter.get();
  return Driver{
      .snapshotter = std::move(snapshotter),
      .recover = [backend](const Context& context) -> Status {
        SKIFF_TRY(backend->recover(context));
        return ok();
      },
      .remove_files =
          [backend](const Context& context, const std::string& kind, const std::string& path) {
            return backend->remove_files(context, kind, path);
          },
      .fsck = [backend](const Context& context) { return backend->fsck(context); }};
}

}  // namespace skiff::daemon
