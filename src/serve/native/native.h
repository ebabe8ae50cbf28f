// The native face: skiff.v1 (proto/skiff/v1/, api.h) over ttrpc on skiff.sock. Translation only.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/error.h"

namespace skiff::engine {
class Engine;
struct FsckReport;
}  // namespace skiff::engine
namespace skiff::image {
class ImageService;
}
namespace skiff::metadata {
struct GcStats;
class Store;
}  // namespace skiff::metadata
namespace skiff::registry {
struct Access;
}
namespace skiff::snapshot {
class Snapshotter;
}
namespace skiff::ttrpc {
class Server;
}

namespace skiff::native {

// What `info` and `version` tell about this daemon.
struct About {
  std::string version;
  std::string root, state;
  std::string runtime;         // "runc", "crun" or a path
  std::string runtime_reason;  // why it was chosen
};

// What the face translates to. Nothing is owned; all must outlive the server.
struct Parts {
  image::ImageService& images;
  engine::Engine& engine;
  metadata::Store& store;
  std::vector<snapshot::Snapshotter*> snapshotters;  // the first is the default
  About about;
  // One collection, now, with its tombstones swept.
  std::function<Result<metadata::GcStats>(const Context&)> collect;
  // Something was removed: a collection is worth while soon.
  std::function<void()> removed;
  std::function<Result<engine::FsckReport>(const Context&, bool deep)> fsck;
  // Signs in at a registry host. Unauthenticated when it refuses these credentials.
  std::function<Status(const Context&, const std::string& host, const registry::Access&)> login;
};

// Holds what calls that wait (Run, Wait) need; it must outlive the server.
class Face {
 public:
  virtual ~Face() = default;
};

// Adds the three services to a server that does not serve yet.
std::unique_ptr<Face> add_services(ttrpc::Server& server, Parts parts);

}  // namespace skiff::native
