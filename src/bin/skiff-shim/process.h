// One process that the shim answers for: a container's init or an exec.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/guarded.h"
#include "bin/skiff-shim/io.h"
#include "bin/skiff-shim/reaper.h"
#include "shim_api/private.h"

namespace skiff::shim {

using shim_api::ExitResponse;
using shim_api::TaskStatus;

// Thread-safe.
class Process {
 public:
  // What was asked for, as State tells it again.
  struct Names {
    std::string stdin_path, stdout_path, stderr_path;
    bool terminal = false;
  };
  using Waiter = std::function<void(const ExitResponse&)>;
  struct State {
    TaskStatus status = TaskStatus::kCreated;
    int pid = 0;
    sys::UniqueFd pidfd;
    std::optional<ExitResponse> exit;
    bool starting = false;      // Start is under way: an exit waits until it has been told
    std::optional<Exit> early;  // such an exit
    std::map<int, Waiter> waiters;
    int next_waiter = 1;
  };

  Process(std::string exec_id, Names names, std::unique_ptr<ProcessIo> io, std::string spec = {})
      : exec_id_(std::move(exec_id)),
        names_(std::move(names)),
        io_(std::move(io)),
        spec_(std::move(spec)) {}

  const std::string& exec_id() const { return exec_id_; }
  const Names& names() const { return names_; }
  ProcessIo& io() { return *io_; }
  // An exec's OCI process object, until it starts.
  const std::string& spec() const { return spec_; }
  Guarded<State>& state() { return state_; }

  // Its pid is known. Opens the pidfd that signals go through.
  void set_pid(int pid);
  // NotFound when it does not run.
  Status signal(int number);
  // Runs once with the exit, at once when it is known; returns its number, 0 when it has run.
  int when_exited(Waiter done);
  // Nobody waits under that number any more.
  void forget(int waiter);
  // Records the exit and tells those who wait.
  void finish(const ExitResponse& exit);

 private:
  std::string exec_id_;
  Names names_;
  std::unique_ptr<ProcessIo> io_;
  std::string spec_;
  Guarded<State> state_;
};

}  // namespace skiff::shim
