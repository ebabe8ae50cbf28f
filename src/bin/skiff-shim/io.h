// What a container's process reads from and writes to.
//
// Pipes, sockets and FIFOs are handed straight to the process: no byte passes through the shim. A
// terminal's bytes are copied between the pty and the client's ends; so are those of a client's
// files and ttys, because the OCI runtime would change the owner of what it is handed (so that the
// process may reopen /dev/stdout) and a container must not hold its user's terminal.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/guarded.h"
#include "bin/skiff-shim/oci_runtime.h"
#include "sys/fd.h"

namespace skiff::shim {

// Either descriptors or, as containerd gives them, names: FIFOs, or file:///path to append to.
struct IoRequest {
  sys::UniqueFd in, out, err;
  std::string in_path, out_path, err_path;
  bool terminal = false;
  uint32_t rows = 0, columns = 0;
};

class Relay;

// Thread-safe once it is open; `started` is called once.
class ProcessIo {
 public:
  static Result<std::unique_ptr<ProcessIo>> open(IoRequest request);
  // Copying that still goes on ends, too.
  ~ProcessIo();

  // For the OCI runtime's run; valid until `started`.
  RuntimeStdio runtime_stdio();
  // After the runtime's run: takes the terminal, closes the process's ends here, begins to copy.
  // Until then what the runtime itself says on stderr waits and is dropped with this object.
  Status started(const Context& context);

  Status resize(uint32_t rows, uint32_t columns);
  void close_stdin();
  // To be called once the process has ended: `done` runs when all that it wrote has been passed on
  // (at once when nothing is copied), on any thread.
  void when_drained(std::function<void()> done);

  bool terminal() const { return terminal_; }

 private:
  struct State {
    uint32_t rows = 0, columns = 0;
    bool stdin_closed = false;
    sys::UniqueFd in, out, err;                       // the process's ends
    sys::UniqueFd client_in, client_out, client_err;  // the client's, where bytes are copied
    sys::UniqueFd relay_in, relay_out, relay_err;     // our ends, towards the process
    sys::UniqueFd stdin_writer;  // keeps a FIFO from ending while its client is away
    sys::UniqueFd master;
    std::shared_ptr<Relay> input;
    std::vector<std::shared_ptr<Relay>> outputs;
  };

  ProcessIo() = default;
  Status open_console();
  Result<sys::UniqueFd> take_console(const Context& context);

  bool terminal_ = false;
  Guarded<State> state_;
  // Used until `started` is over, by its caller alone.
  sys::UniqueFd console_listener_, console_folder_;
  std::string console_socket_;
};

}  // namespace skiff::shim
