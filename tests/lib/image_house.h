// The image service with its real parts (SQLite, files, overlayfs, HTTP) in a folder of its own.
// Needs root, and a private mount namespace (see `private_mounts`).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "content/local/local_content_store.h"
#include "http/client.h"
#include "image/image_service.h"
#include "metadata/gc.h"
#include "registry/distribution.h"
#include "snapshot/local_snapshotter.h"
#include "sys/file.h"
#include "tests/lib/fake_registry.h"

namespace skiff::testing {

// Moves the process into a mount namespace of its own; call before threads start. Crashes when it
// cannot.
void private_mounts();

class ImageHouse {
 public:
  struct Options {
    image::ImageService::Parts::Limits limits;
    std::string driver = "overlay";  // or "native"
    sys::Path root;                  // empty: a temporary folder
    std::string boot_id;             // empty: the kernel's
    uint64_t reserve_bytes = 0;
  };
  ImageHouse() : ImageHouse(Options()) {}
  explicit ImageHouse(Options options);
  ~ImageHouse();

  image::ImageService& images() { return *images_; }
  metadata::Store& store() { return *store_; }
  content::LocalContentStore& content() { return *content_; }
  snapshot::Snapshotter& snapshotter() { return *snapshotter_; }
  const sys::Path& root() const { return root_; }

  // "host/name" of the registry, over plain HTTP, without credentials unless given.
  Result<image::PullResult> pull(const FakeRegistry& registry, const std::string& name,
                                 const registry::CredentialSourcePtr& credentials = nullptr,
                                 const Context& context = Context());
  image::PullOptions pull_options(const registry::CredentialSourcePtr& credentials = nullptr);

  // Collects garbage and sweeps the files of what went.
  metadata::GcStats collect();
  // What should not be: findings of the content store and the snapshotter, active snapshots,
  // ingests and leases in any namespace the test used. Empty when all is well.
  std::vector<std::string> leftovers();
  // The tree of an unpacked image, through a real mount: "path type mode content-or-target" lines.
  // The chain must stand in the context's namespace.
  std::vector<std::string> tree(const Digest& chain_id, const Context& context = Context());
  // Closes everything and opens it again, as a restart of the daemon does; with another boot id, as
  // a reboot.
  void restart(const std::string& boot_id = "");

 private:
  void open();
  void close();

  Options options_;
  std::unique_ptr<sys::TempDir> own_root_;
  sys::Path root_;
  std::unique_ptr<http::Client> http_;
  std::unique_ptr<metadata::Store> store_;
  std::unique_ptr<content::LocalContentStore> content_;
  std::unique_ptr<snapshot::LocalSnapshotter> snapshotter_;
  std::unique_ptr<registry::Resolver> resolver_;
  std::unique_ptr<image::ImageService> images_;
};

}  // namespace skiff::testing
