// A shim: the process that stays with a container, drives the OCI runtime for it and knows its
// exit.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/context.h"
#include "sys/fd.h"
#include "ttrpc/well_known.h"

namespace skiff::runtime {

using ttrpc::SystemTime;

// The process's ends; an absent one is /dev/null. With a terminal `in` and `out` are the two sides
// that the shim copies to and from the pty; `err` is unused. The shim keeps what it needs: these
// may be closed once the call returns.
struct Stdio {
  sys::UniqueFd in, out, err;
  bool terminal = false;
  uint32_t rows = 0, columns = 0;  // the terminal's first size; 0: unknown
};

// A container's init (no exec) or one of its execs.
struct Process {
  std::string id;
  std::string exec_id;
};

enum class TaskStatus { kCreated, kRunning, kPaused, kStopped };

struct ExitStatus {
  uint32_t code = 0;    // the process's own, or 128 + signal
  uint32_t signal = 0;  // that ended it, or 0
  SystemTime time;
  uint64_t oom_kills = 0;  // of any process in the container since it was made
  bool oom_killed() const { return oom_kills > 0; }
};

struct TaskState {
  TaskStatus status = TaskStatus::kCreated;
  uint32_t pid = 0;
  std::optional<ExitStatus> exit;  // when stopped
};

struct CreateOptions {
  std::string id;
  std::string bundle;   // holds config.json
  std::string runtime;  // the OCI runtime's program
  // Start the process, too: one message and one run of the runtime instead of two.
  bool start = false;
  // The runtime's state and the cgroup begin to go with the exit, without being asked: remove only
  // waits for the rest of that.
  bool delete_on_exit = false;
};

// One connection to one shim. Thread-safe; calls run side by side. Destroying it disconnects, the
// shim and its containers go on. Unavailable from any method: the connection is lost (the shim may
// live: connect again through ShimManager::adopt). NotFound: it has no such process.
// Implementations: TtrpcShim (our shim), FakeShim (fake_shim.h).
class Shim {
 public:
  virtual ~Shim() = default;

  // The process's pid, in the daemon's pid namespace. When the command cannot be run the error is
  // FailedPrecondition with the runtime's words (see exit_code_of_failure) and nothing is left.
  virtual Result<uint32_t> create(const Context& context, const CreateOptions& options,
                                  Stdio stdio) = 0;
  // A created container's process.
  virtual Result<uint32_t> start(const Context& context, const std::string& id) = 0;
  // A further process in a running container; `process_json` is OCI's process object.
  virtual Result<uint32_t> exec(const Context& context, const Process& process,
                                const std::string& process_json, Stdio stdio) = 0;
  // To every process of the container with `all`. NotFound when it has ended.
  virtual Status kill(const Context& context, const Process& process, int signal, bool all) = 0;
  virtual Status resize(const Context& context, const Process& process, uint32_t rows,
                        uint32_t columns) = 0;
  // The process reads the end of its input. Works before it starts, too.
  virtual Status close_stdin(const Context& context, const Process& process) = 0;
  virtual Result<TaskState> state(const Context& context, const Process& process) = 0;
  // `done` runs once, on a loop's thread (it must not block) or at once on this one: the exit, or
  // Unavailable when the connection is lost first. The returned function takes it back.
  using ExitFn = std::function<void(Result<ExitStatus>)>;
  virtual std::function<void()> when_exited(const Process& process, ExitFn done) = 0;
  // Takes a stopped (or created) process away, a container with all that the runtime made for it.
  virtual Result<ExitStatus> remove(const Context& context, const Process& process) = 0;
  // Ends the shim's process; refused with FailedPrecondition while a container runs in it.
  virtual Status shutdown(const Context& context) = 0;
};

// 127 when the runtime's words say that the command was not found, 126 when it cannot be run, else
// 125: the codes that Docker's users know.
int exit_code_of_failure(const Error& error);

}  // namespace skiff::runtime
