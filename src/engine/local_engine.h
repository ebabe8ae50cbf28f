// The Engine itself. engine.cc creates and starts, lifecycle.cc ends and removes, recovery.cc takes
// up what an earlier daemon left.
//
// Order of locks: an operation's KeyLock (held over I/O, one container only) before a container's
// state or the registry (never held over I/O, nor together).
#pragma once

#include <chrono>
#include <map>
#include <memory>

#include "base/key_locks.h"
#include "engine/engine.h"
#include "engine/registry.h"
#include "snapshot/snapshotter.h"
#include "sys/thread.h"

namespace skiff::engine {

class LocalEngine final : public Engine {
 public:
  explicit LocalEngine(Parts parts);
  ~LocalEngine() override;

  Result<ContainerInfo> create_container(const Context& context,
                                         const ContainerSpec& spec) override;
  Result<ContainerInfo> start(const Context& context, const std::string& id, Stdio stdio,
                              TerminalSize size) override;
  Result<ContainerInfo> run(const Context& context, const ContainerSpec& spec, Stdio stdio,
                            TerminalSize size) override;
  Result<ExitStatus> wait(const Context& context, const std::string& id) override;
  std::function<void()> when_exited(const Context& context, const std::string& id,
                                    ExitFn done) override;
  Status kill(const Context& context, const std::string& id, int signal, bool all) override;
  Status resize(const Context& context, const std::string& id, TerminalSize size) override;
  Status close_stdin(const Context& context, const std::string& id) override;
  Status remove(const Context& context, const std::string& id, bool force) override;
  Result<ContainerInfo> get(const Context& context, const std::string& id) override;
  Result<std::vector<ContainerInfo>> list(const Context& context, bool all) override;
  Status recover(const Context& context) override;

 private:
  using Clock = std::chrono::steady_clock;
  using Held = KeyLocks::Held;
  struct Running {
    runtime::Process process;
    std::shared_ptr<runtime::Shim> shim;
  };
  struct Ended {
    ExitStatus exit;
    Clock::time_point forget;
  };
  // What callbacks that outlive the engine reach it through: null once it has ended.
  using Gate = Guarded<LocalEngine*>;

  // --- engine.cc
  Result<snapshot::Snapshotter*> snapshotter(const std::string& name) const;
  // A container that is being made: in the registry, not yet in the store.
  Result<ContainerPtr> draft(const Context& context, const ContainerSpec& spec);
  Result<std::vector<snapshot::Mount>> make_root(const Context& context,
                                                 const ContainerPtr& container);
  // Mounts the root and starts the process; the container's phase is then kRunning, or kExited when
  // its command cannot be run. On an error what it did is undone.
  Status launch(const Context& context, const ContainerPtr& container,
                std::shared_ptr<runtime::Shim> shim, const std::vector<snapshot::Mount>& mounts,
                Stdio stdio, TerminalSize size);
  Result<uint32_t> create_process(const Context& context, const ContainerPtr& container,
                                  runtime::Shim& shim, const std::vector<snapshot::Mount>& mounts,
                                  Stdio stdio, TerminalSize size);
  Status update_row(const Record& record, const CrashPoint& point, metadata::Durability durability);

  // --- lifecycle.cc
  // By anything that names it; not those that are being made or removed.
  Result<ContainerPtr> find(const Context& context, const std::string& reference);
  Result<Running> running(const Context& context, const std::string& id);
  void watch(const ContainerPtr& container, const std::shared_ptr<runtime::Shim>& shim,
             uint64_t run);
  void settle(const ContainerPtr& container, uint64_t run, Result<runtime::ExitStatus> exit);
  // The run is over: tells everybody, and clears away what belonged to it. Operation lock held.
  void finish(const ContainerPtr& container, ExitStatus exit);
  void tell(const ContainerPtr& container, const Result<ExitStatus>& exit);
  void remember(const ContainerPtr& container, const ExitStatus& exit);
  std::optional<ExitStatus> remembered(const Context& context, const std::string& id);
  // The shim, mounts, cgroup and bundle of a run, whatever is left of them.
  Status clear_run(const ContainerPtr& container);
  // Its name is free, it is found no more, and recovery removes it from here on.
  Status begin_removal(const ContainerPtr& container);
  // The container itself: its run, root file system and row. Operation lock held.
  Status discard(const ContainerPtr& container);
  Status kill_and_wait(const Context& context, const ContainerPtr& container);

  // --- recovery.cc
  Result<std::vector<Record>> stored();
  void take_up(Record record);
  void adopt(const ContainerPtr& container);
  void clear_strays();
  // Runs in the background, with the container's operation lock held from now on.
  void in_background(const ContainerPtr& container, std::function<void()> task);

  Parts parts_;
  Registry registry_;
  KeyLocks locks_;
  Guarded<std::map<std::string, Ended>> ended_;  // by Container::key; auto-removed ones
  std::shared_ptr<Gate> gate_ = std::make_shared<Gate>(this);
  sys::WorkerPool workers_;
};

// The shared form of an exit as the shim tells it.
ExitStatus exit_status(const runtime::ExitStatus& exit);
// Work that must be finished though the request has gone, but not for ever.
inline constexpr auto kCleanUpTime = std::chrono::seconds(30);

}  // namespace skiff::engine
