// Starting, watching and signalling processes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/context.h"
#include "base/error.h"
#include "sys/fd.h"

namespace skiff::sys {

struct SpawnOptions {
  std::string program;            // a path; $PATH is not searched
  std::vector<std::string> args;  // args[0] too
  // Unset: this process's environment.
  std::optional<std::vector<std::string>> env;
  std::string cwd;  // empty: this process's
  // {descriptor here, number there}. Nothing else above 2 is inherited; 0, 1 and 2 are unless
  // listed.
  std::vector<std::pair<int, int>> fds;
  bool new_session = false;
  bool new_group = false;
  int parent_death_signal = 0;  // that ends it when the thread that spawned it ends; 0: none
};

struct Child {
  int pid = -1;
  UniqueFd pidfd;  // readable once it has ended
};

// Starts a program with default signal handling. The error is exec's own: NotFound,
// PermissionDenied. The parent's memory is not copied (vfork), so it is as quick from a large
// process. Thread-safe.
Result<Child> spawn(const SpawnOptions& options);

struct ProcessExit {
  int pid = -1;
  int code = 0;    // exit code, when signal is 0
  int signal = 0;  // that ended it
  // 128 + n after signal n, as shells and Docker say it.
  int status() const { return signal ? 128 + signal : code; }
};

// Waits until the child ends, or the context does, and reaps it. On a context's end the child goes
// on, unreaped.
Result<ProcessExit> wait_child(const Context& context, const Child& child);
// Waits until the process ends, or the context does; reaps nothing, so any process will do.
Status wait_process(const Context& context, const UniqueFd& pidfd);
// Reaps a child that has ended: any (pid -1) or one; empty when none has. NotFound without
// children.
Result<std::optional<ProcessExit>> reap(int pid = -1);

// The pidfd of a process that runs; NotFound.
Result<UniqueFd> open_pidfd(int pid);
Status send_signal(const UniqueFd& pidfd, int signal);
// Start time in clock ticks since boot (/proc/<pid>/stat): with the pid it names a process for
// good.
Result<uint64_t> process_start_time(int pid);

// Runs a program to its end and collects what it writes (at most `limit` bytes of each; the rest is
// dropped). It is killed when the context ends.
struct Output {
  ProcessExit exit;
  std::string out, err;
};
Result<Output> run_program(const Context& context, const SpawnOptions& options,
                           size_t limit = 1 << 20);

// This process becomes the parent of orphaned descendants (PR_SET_CHILD_SUBREAPER).
Status become_subreaper();

}  // namespace skiff::sys
