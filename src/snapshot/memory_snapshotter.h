// The fake Snapshotter: rows in memory, layers as whole copies in a scratch folder. Passes the same
// suite as the real ones, and plays a remote snapshotter by either contract. For tests.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/guarded.h"
#include "snapshot/snapshotter.h"

namespace skiff::snapshot {

class MemorySnapshotter final : public Snapshotter {
 public:
  explicit MemorySnapshotter(std::string name = "memory");
  ~MemorySnapshotter() override;

  // Asked at the start of each operation with its name: an error is what the operation returns.
  using Fault = std::function<Status(std::string_view operation)>;
  void set_fault(Fault fault);

  // Layers that it "has" elsewhere, each with the whole root file system that it completes.
  enum class Contract {
    k2019,   // keys are layer digests; prepare marks the snapshot with kRemoteLabel
    kToday,  // keys are chain IDs; prepare commits and answers AlreadyExists
  };
  void set_remote(Contract contract, std::map<std::string, sys::Path> roots);
  // The labels that each prepare came with, in order.
  std::vector<Labels> prepared_labels() const;

  const std::string& name() const override { return name_; }
  Capabilities capabilities() const override;
  Result<SnapshotInfo> stat(const Context& context, const std::string& key) override;
  Result<SnapshotInfo> update(const Context& context, const std::string& key, const Labels& labels,
                              const FieldPaths& paths) override;
  Result<Usage> usage(const Context& context, const std::string& key) override;
  Result<std::vector<Mount>> mounts(const Context& context, const std::string& key) override;
  Result<std::vector<Mount>> prepare(const Context& context, const std::string& key,
                                     const std::string& parent, const Labels& labels) override;
  Result<std::vector<Mount>> view(const Context& context, const std::string& key,
                                  const std::string& parent, const Labels& labels) override;
  Status commit(const Context& context, const std::string& name, const std::string& key,
                const CommitOptions& options) override;
  Status remove(const Context& context, const std::string& key) override;
  Status walk(const Context& context, const std::vector<std::string>& filters,
              const std::function<Status(const SnapshotInfo&)>& visit) override;

 private:
  struct State;
  Status check(const Context& context, std::string_view operation) const;
  Result<std::vector<Mount>> create(const Context& context, Kind kind, const std::string& key,
                                    const std::string& parent, const Labels& labels);
  std::vector<Mount> mounts_of(const SnapshotInfo& info) const;

  std::string name_;
  sys::TempDir scratch_;
  std::unique_ptr<Guarded<State>> state_;
};

}  // namespace skiff::snapshot
