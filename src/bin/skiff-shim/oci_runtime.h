// Runs an OCI runtime's program (runc, crun): one method a subcommand. Blocking; thread-safe.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/context.h"
#include "bin/skiff-shim/reaper.h"
#include "sys/fd.h"

namespace skiff::shim {

// What becomes the process's 0, 1 and 2: the runtime hands its own down. -1: /dev/null.
struct RuntimeStdio {
  int in = -1, out = -1, err = -1;
  std::string console_socket;  // with a terminal; the three are unused then
};

class OciRuntime {
 public:
  struct Options {
    std::string program = "runc";  // a name is looked up in $PATH
    std::string root;              // --root; empty: the runtime's own
    bool systemd_cgroup = false;
  };
  OciRuntime(Reaper& reaper, Options options, std::string bundle);

  // The pid of the container's init. `start`: the process runs when this returns (or has ended).
  Result<int> create(const Context& context, const std::string& id, const RuntimeStdio& stdio,
                     bool start);
  Status start(const Context& context, const std::string& id);
  Result<int> exec(const Context& context, const std::string& id, const std::string& exec_id,
                   const std::string& process_json, const RuntimeStdio& stdio);
  // Also kills what still runs with `force`. A container that is gone is no error.
  Status remove(const Context& context, const std::string& id, bool force);
  Status pause(const Context& context, const std::string& id);
  Status resume(const Context& context, const std::string& id);
  Status update(const Context& context, const std::string& id, const std::string& resources_json);

  const Options& options() const { return options_; }

 private:
  Status run(const Context& context, std::vector<std::string> arguments,
             const RuntimeStdio& stdio = {});
  Result<int> run_for_pid(const Context& context, std::vector<std::string> arguments,
                          const std::string& id, const std::string& pid_file,
                          const RuntimeStdio& stdio);

  Reaper& reaper_;
  Options options_;
  std::string bundle_;
};

// A path for a program's name, by $PATH and the sbin folders; a path or an unknown name stays as it
// is.
std::string find_program(const std::string& name);
// The message of the last error in a log that a runtime wrote with --log-format json; empty: none.
std::string last_error(std::string_view log);

}  // namespace skiff::shim
