// Starts shims, finds them again, and clears away what dead ones left.
//
// A shim of ours is told everything at its start (the listening socket is made here and inherited,
// so it can be connected to at once) and lives in a session and cgroup of its own: it survives this
// daemon. Everything about it stands in its container's bundle, see bundle.h.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/context.h"
#include "runtime/bundle.h"
#include "runtime/probe.h"
#include "runtime/shim.h"
#include "sys/file.h"

namespace skiff::runtime {

struct ShimManagerOptions {
  sys::Path state;         // bundles and sockets: <state>/bundles/<namespace>/<id>
  sys::Path shim_program;  // skiff-shim; empty: beside this program
  std::string runtime;     // the OCI runtime's name or path; empty: found by probing
  // Where shims live among the cgroups ("/skiff-shims"); empty: with the daemon.
  std::string shim_cgroup;
};

// Thread-safe. One a daemon.
class ShimManager {
 public:
  static Result<std::unique_ptr<ShimManager>> create(ShimManagerOptions options);
  virtual ~ShimManager() = default;

  // A new shim for the container `id` in the context's namespace, and its bundle's folder (without
  // config.json: see Bundle). It may be called before the root file system is ready, to save time.
  // AlreadyExists when a live shim has that id; what a dead one left is cleared first.
  virtual Result<std::unique_ptr<Shim>> launch(const Context& context, const std::string& id) = 0;
  // Connects to the running shim of `id`. NotFound when there is none that answers.
  virtual Result<std::unique_ptr<Shim>> adopt(const Context& context, const std::string& id) = 0;
  // Removes what the container left: the process of a shim that does not answer, the runtime's
  // state, processes, cgroup, the bundle. No error when nothing is there. Blocks for as long as the
  // runtime takes (the context bounds it). To be called after Shim::remove, too.
  virtual Status clean(const Context& context, const std::string& id) = 0;
  // Every container in the context's namespace that has a bundle, with or without a live shim.
  virtual Result<std::vector<std::string>> list(const Context& context) = 0;
  virtual Result<std::vector<std::string>> list_namespaces() = 0;

  virtual Bundle bundle(const Context& context, const std::string& id) const = 0;
  // The OCI runtime that `name` means (a name, a path, or empty for the daemon's own choice).
  virtual Result<RuntimeInfo> runtime(const Context& context, const std::string& name) = 0;
};

}  // namespace skiff::runtime
