// The client of an external snapshotter: containerd's snapshots service on a unix socket. Keys and
// names are the backend's own here; ProxySnapshotter maps them.
//
// Thread-safe. Errors keep the backend's code and name the call; Unavailable when nobody answers.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "snapshot/snapshotter.h"

namespace skiff::snapshot {

struct BackendInfo {
  std::string name;
  std::string parent;
  Kind kind = Kind::kActive;
  Labels labels;
};

class Backend {
 public:
  // `snapshotter` is what requests name. Connects on first use, again after the other end restarts.
  Backend(const sys::Path& socket, std::string snapshotter);
  ~Backend();

  Result<std::vector<Mount>> prepare(const Context& context, const std::string& key,
                                     const std::string& parent, const Labels& labels);
  Result<std::vector<Mount>> view(const Context& context, const std::string& key,
                                  const std::string& parent, const Labels& labels);
  Result<std::vector<Mount>> mounts(const Context& context, const std::string& key);
  Status commit(const Context& context, const std::string& name, const std::string& key,
                const Labels& labels);
  Status remove(const Context& context, const std::string& key);
  Result<BackendInfo> stat(const Context& context, const std::string& key);
  // Sets these labels and leaves others.
  Status set_labels(const Context& context, const std::string& key, const Labels& labels);
  Result<Usage> usage(const Context& context, const std::string& key);
  Result<std::vector<BackendInfo>> list(const Context& context);
  // Lets it delete what it has marked as removed; backends that know no such step are fine.
  Status cleanup(const Context& context);

 private:
  struct Client;
  std::string what(const char* call, const std::string& key) const;

  std::string snapshotter_;
  std::unique_ptr<Client> client_;
};

}  // namespace skiff::snapshot
