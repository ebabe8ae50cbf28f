// Shims without processes, for tests of what stands above runtime/: a container's life is a state
// in memory that the test moves on with `end`. Follows Shim's and ShimManager's contracts; faults
// are injected by `fail_next`. Thread-safe.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/guarded.h"
#include "runtime/shim_manager.h"

namespace skiff::runtime {

class FakeShims : public ShimManager {
 public:
  explicit FakeShims(sys::Path state) : state_(std::move(state)) {}

  // The process ends with this status; its waiters are told on this thread.
  void end(const Process& process, ExitStatus exit);
  // The shim dies: its clients lose their connection, what it ran is gone.
  void kill_shim(const std::string& id);
  // The connections to the shim break; it lives on.
  void disconnect(const std::string& id);
  // The next call of that method, of any shim or of the manager, fails so.
  void fail_next(const std::string& method, Error error);
  // How often a method was called, to count messages.
  int calls(const std::string& method);

  Result<std::unique_ptr<Shim>> launch(const Context& context, const std::string& id) override;
  Result<std::unique_ptr<Shim>> adopt(const Context& context, const std::string& id) override;
  Status clean(const Context& context, const std::string& id) override;
  Result<std::vector<std::string>> list(const Context& context) override;
  Result<std::vector<std::string>> list_namespaces() override;
  Bundle bundle(const Context& context, const std::string& id) const override;
  Result<RuntimeInfo> runtime(const Context& context, const std::string& name) override;

 private:
  friend class FakeShim;
  struct Task {
    TaskState state;
    std::map<int, Shim::ExitFn> waiters;
  };
  struct State {
    // By container id, then exec id; a container id without tasks is a shim that runs nothing yet.
    std::map<std::string, std::map<std::string, Task>> shims;
    std::map<std::string, Error> faults;
    std::map<std::string, int> calls;
    uint32_t next_pid = 1000;
    int next_waiter = 1;
  };
  // Counts the call and gives the fault that was asked for, if any.
  Status enter(State& state, const std::string& method);

  sys::Path state_;
  std::shared_ptr<Guarded<State>> shared_ = std::make_shared<Guarded<State>>();
};

}  // namespace skiff::runtime
