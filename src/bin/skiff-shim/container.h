// A container in this shim: its init, its execs, its cgroup and the OCI runtime that made it.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/guarded.h"
#include "base/key_locks.h"
#include "bin/skiff-shim/oci_runtime.h"
#include "bin/skiff-shim/process.h"
#include "bin/skiff-shim/publisher.h"
#include "shim_api/private.h"
#include "sys/cgroup.h"
#include "sys/event_loop.h"
#include "sys/thread.h"

namespace skiff::shim {

// What the containers of a shim have in common.
struct Shared {
  std::shared_ptr<sys::EventLoop> loop;
  Reaper reaper;
  sys::WorkerPool workers{{.name = "skiff-cleanup", .max_threads = 4}};
  std::shared_ptr<Publisher> publisher;
  sys::CgroupHost cgroups;
};

// Thread-safe. Steps of the container's life (start, delete) follow one another; execs, signals and
// questions wait for none of them.
class Container : public std::enable_shared_from_this<Container> {
 public:
  struct Options {
    std::string id, bundle;
    OciRuntime::Options runtime;
    std::vector<shim_api::Mount> rootfs;
    bool delete_on_exit = false;
  };
  Container(std::shared_ptr<Shared> shared, Options options);
  ~Container();

  // Mounts the root file system, makes the container and, with `start`, runs it. After an error
  // nothing is left of it.
  Result<int> create(const Context& context, Process::Names names, IoRequest io, bool start);
  Result<int> start(const Context& context);

  // AlreadyExists for a used id. A failed start frees the id again when `keep` is false.
  Status add_exec(const std::string& exec_id, std::string process_json, Process::Names names,
                  IoRequest io);
  Result<int> start_exec(const Context& context, const std::string& exec_id, bool keep);

  // FailedPrecondition while it runs.
  Result<ExitResponse> remove(const Context& context);
  Result<ExitResponse> remove_exec(const std::string& exec_id);

  Status kill(const Context& context, const std::string& exec_id, int signal, bool all);
  Status pause(const Context& context);
  Status resume(const Context& context);
  Status update(const Context& context, const std::string& resources_json);
  Result<std::vector<int>> pids() const;
  Result<ttrpc::Any> stats() const;

  // The init for an empty exec id; NotFound.
  Result<std::shared_ptr<Process>> process(const std::string& exec_id) const;
  const std::string& id() const { return options_.id; }
  const std::string& bundle() const { return options_.bundle; }
  bool paused() const { return oom_.lock()->paused; }

 private:
  struct Execs {
    std::map<std::string, std::shared_ptr<Process>> by_id;
  };
  struct Oom {
    uint64_t kills = 0;
    std::optional<ttrpc::Timestamp> last;
    sys::UniqueFd event;
    sys::EventLoop::Token token = 0;
    bool paused = false;
  };
  struct Cleanup {
    bool begun = false, done = false;
    Status result;
  };

  Result<int> run_create(const Context& context, bool start);
  void learn_cgroup(int pid);
  void watch_oom();
  void on_oom();
  uint64_t count_oom();
  void on_exit(const std::shared_ptr<Process>& process, const Exit& exit);
  void publish_exit(const std::shared_ptr<Process>& process, const Exit& exit);
  void begin_cleanup();
  Status finish_cleanup(const Context& context);
  Status clean(const Context& context);

  std::shared_ptr<Shared> shared_;
  Options options_;
  OciRuntime runtime_;
  std::shared_ptr<Process> init_;
  std::string cgroup_;  // set before the container can be found by others
  bool own_pid_namespace_ = true;
  mutable Guarded<Execs> execs_;
  mutable Guarded<Oom> oom_;
  Guarded<Cleanup> cleanup_;
  std::condition_variable_any cleaned_;
  KeyLocks steps_;
};

}  // namespace skiff::shim
