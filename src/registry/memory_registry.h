// A registry in memory behind the seams: for tests of what stands on them, and a host of its own
// ("memory.test") where no network is wanted. It passes the same suite as the real one.
//
// Thread-safe; what comes from it holds on to its content.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/guarded.h"
#include "registry/registry.h"

namespace skiff::registry {

class MemoryRegistry {
 public:
  MemoryRegistry();

  // References under any registry name are looked up by repository alone.
  Digest add_blob(std::string bytes);
  // Under its digest, and under the tag unless that is empty.
  Digest add_manifest(const std::string& repository, const std::string& tag, std::string bytes,
                      const std::string& media_type);
  // From now on nothing is served without these credentials: Unauthenticated otherwise.
  void require(Credentials credentials);

  // Called before a fetch gives its first byte, on the caller's thread: an error is the fetch's
  // result. Blocks the fetch for as long as it likes.
  using FetchHook = std::function<Status(const oci::Descriptor&, Range)>;
  void on_fetch(FetchHook hook);
  // The next `times` fetches of that digest end with the error after so many bytes.
  void break_fetch(const Digest& digest, uint64_t after, Error error, int times = 1);

  int fetches(const Digest& digest) const;
  uint64_t bytes_fetched(const Digest& digest) const;
  int resolves() const;

  std::unique_ptr<Resolver> resolver();

  struct State;

 private:
  std::shared_ptr<Guarded<State>> state_;
};

}  // namespace skiff::registry
