// The fake ContentStore: everything in memory, no metadata store, leases ignored. Passes the same
// suite as the real one; for tests of what stands above.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "base/guarded.h"
#include "content/content_store.h"

namespace skiff::content {

class MemoryContentStore final : public ContentStore {
 public:
  MemoryContentStore();
  ~MemoryContentStore() override;

  // Asked at the start of each operation with its name ("open", "write", "commit", ...): an error
  // is what the operation then returns, having done nothing.
  using Fault = std::function<Status(std::string_view operation)>;
  void set_fault(Fault fault);
  // Changes a byte of a stored blob behind the store's back. NotFound when there is none.
  Status damage(const Digest& digest, size_t offset);

  Result<BlobInfo> info(const Context& context, const Digest& digest) override;
  Result<std::shared_ptr<BlobReader>> open(const Context& context, const Digest& digest) override;
  Result<std::unique_ptr<Ingest>> ingest(const Context& context, const std::string& ref,
                                         const Expected& expected) override;
  Result<std::vector<IngestStatus>> ingests(const Context& context) override;
  Status abort(const Context& context, const std::string& ref) override;
  Result<BlobInfo> update(const Context& context, const Digest& digest, const Labels& labels,
                          const FieldPaths& paths) override;
  Status walk(const Context& context, const std::vector<std::string>& filters,
              const std::function<Status(const BlobInfo&)>& visit) override;
  Status remove(const Context& context, const Digest& digest) override;
  Result<BlobInfo> share(const Context& context, const Digest& digest,
                         const Labels& labels) override;

  struct State;  // shared with its ingests

 private:
  std::shared_ptr<State> state_;
};

}  // namespace skiff::content
