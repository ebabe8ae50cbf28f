// The one place that names concrete classes: what the daemon is made of and who uses whom.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/guarded.h"
#include "bin/skiffd/drivers.h"
#include "bin/skiffd/settings.h"

namespace skiff::content {
class LocalContentStore;
}
namespace skiff::engine {
class Engine;
struct FsckReport;
}  // namespace skiff::engine
namespace skiff::http {
class Client;
}
namespace skiff::image {
class ImageService;
}
namespace skiff::metadata {
class Confirmer;
struct GcStats;
class Store;
}  // namespace skiff::metadata
namespace skiff::native {
struct Parts;
}
namespace skiff::registry {
class Resolver;
}
namespace skiff::runtime {
class ShimManager;
}
namespace skiff::daemon {

// A callback that is connected later than the part that calls it. Thread-safe.
class LateCallback {
 public:
  void set(std::function<void()> call) { *call_.lock() = std::move(call); }
  void operator()() {
    auto call = call_.lock();
    if (*call) (*call)();
  }

 private:
  Guarded<std::function<void()>> call_;
};

// Everything, in the order in which it is made; it ends in the reverse order.
struct Parts {
  Parts();
  ~Parts();
  std::vector<snapshot::Snapshotter*> snapshotters() const;

  // Rows of snapshots went, their folders are to be swept.
  LateCallback files_left;
  std::unique_ptr<metadata::Store> store;
  std::unique_ptr<content::LocalContentStore> content;
  std::vector<Driver> drivers;  // the default is the first
  std::unique_ptr<http::Client> http;
  std::unique_ptr<registry::Resolver> resolver;
  std::unique_ptr<metadata::Confirmer> confirmer;
  std::unique_ptr<image::ImageService> images;
  std::unique_ptr<runtime::ShimManager> shims;
  std::unique_ptr<engine::Engine> engine;
};

// Opens and connects everything; nothing is recovered yet. Errors name the part. `store_failed` is
// called when the metadata store cannot go on.
Result<std::unique_ptr<Parts>> wire(const Settings& settings,
                                    std::function<void(const Error&)> store_failed);

// Puts right what an earlier daemon left, each part in its turn.
Status recover(Parts& parts);
// Removes the files whose rows are gone.
Status sweep(const Context& context, Parts& parts);
// One garbage collection, and a sweep.
Result<metadata::GcStats> collect(const Context& context, Parts& parts);
Result<engine::FsckReport> fsck(const Context& context, Parts& parts, const Settings& settings,
                                bool deep);
// What the native face translates to. `removed`: something became garbage.
native::Parts native_parts(Parts& parts, const Settings& settings, std::function<void()> removed);
// The cgroups above containers and shims, where none lives any more.
void remove_empty_cgroups(const Settings& settings);

}  // namespace skiff::daemon
