// Knows the exit of every process below the shim: the OCI runtime's own runs, the containers'
// processes that they leave behind, and orphans that nobody asked about.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>

#include "base/context.h"
#include "base/guarded.h"
#include "sys/process.h"
#include "ttrpc/well_known.h"

namespace skiff::shim {

struct Exit {
  int code = 0;  // the process's own, or 128 + signal
  int signal = 0;
  ttrpc::SystemTime time;
};

// Everything is reaped in one place, so no two waiters race for a zombie and none is left over.
// Thread-safe.
class Reaper {
 public:
  using Handler = std::function<void(const Exit&)>;

  // Reaps all that has ended; to be called when SIGCHLD came. Handlers run on this thread.
  void reap();

  // Starts a program and waits for its end. It is killed when the context ends.
  Result<Exit> run(const Context& context, const sys::SpawnOptions& options);

  // While one exists, exits of unknown processes are kept, so a process that the runtime started
  // and that ended before its pid was known is not missed.
  class Window {
   public:
    explicit Window(Reaper& reaper);
    ~Window();
    Window(const Window&) = delete;

   private:
    Reaper& reaper_;
  };

  // Calls `handler` once with the exit of `pid`, which must run or have ended within the open
  // window; at once when it has.
  void watch(int pid, Handler handler);

 private:
  struct State {
    std::map<int, Handler> handlers;
    std::map<int, Exit> unclaimed;  // filled only while windows > 0
    int windows = 0;
  };
  Guarded<State> state_;
};

}  // namespace skiff::shim
