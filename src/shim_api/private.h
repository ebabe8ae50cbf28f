// skiff.shim.v1: what skiffd says to its own shim beyond containerd's task API. One message does
// what takes foreign shims several, and stdio travels as descriptors instead of FIFO names.
// Wire interface: proto/skiff/shim/v1/shim.proto. A peer that lacks a method answers Unimplemented;
// `Hello` tells in advance.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "shim_api/task.h"

namespace skiff::shim_api {

inline constexpr char kPrivateService[] = "skiff.shim.v1.Shim";
// Raised when a change needs both sides to know; the lower of the two counts.
inline constexpr uint32_t kProtocolVersion = 1;

struct HelloRequest {
  uint32_t protocol = kProtocolVersion;
  std::string version;  // of the daemon's program
  template <class V>
  void fields(V& v) {
    v(1, protocol);
    v(2, version);
  }
};

struct HelloResponse {
  uint32_t protocol = 0;
  std::string version;
  uint32_t pid = 0;
  template <class V>
  void fields(V& v) {
    v(1, protocol);
    v(2, version);
    v(3, pid);
  }
};

// Which descriptors came with the message, in this order. An absent one is /dev/null. With a
// terminal, in and out are the two sides that the shim copies from and to, err is unused.
struct Stdio {
  bool in = false, out = false, err = false;
  bool terminal = false;
  uint32_t rows = 0, columns = 0;
  template <class V>
  void fields(V& v) {
    v(1, in);
    v(2, out);
    v(3, err);
    v(4, terminal);
    v(5, rows);
    v(6, columns);
  }
};

// Method Create: the container, and with `start` its process too, in one step of the OCI runtime
// (so its exit may come before the answer). Answers PidResponse. FailedPrecondition with a message
// from the runtime when the process cannot be run; then nothing is left of the container.
struct CreateRequest {
  std::string id, bundle;
  std::string runtime;       // the OCI runtime's program
  std::string runtime_root;  // its --root
  Stdio stdio;
  bool start = false;
  // The runtime's own state and cgroup begin to go as soon as the process has exited, without being
  // asked: a Delete only waits for the rest of that.
  bool delete_on_exit = false;
  std::vector<Mount> rootfs;
  template <class V>
  void fields(V& v) {
    v(1, id);
    v(2, bundle);
    v(3, runtime);
    v(4, runtime_root);
    v(5, stdio);
    v(6, start);
    v(7, delete_on_exit);
    v(8, rootfs);
  }
};

// Method Exec: a further process, started. Answers PidResponse.
struct ExecRequest {
  std::string id, exec_id;
  std::string process;  // OCI's process object as JSON
  Stdio stdio;
  template <class V>
  void fields(V& v) {
    v(1, id);
    v(2, exec_id);
    v(3, process);
    v(4, stdio);
  }
};

// Method Wait, and what Delete answers: exact, with what containerd's messages do not say.
struct ExitResponse {
  uint32_t pid = 0;
  uint32_t exit_status = 0;  // 128 + n after signal n
  uint32_t signal = 0;
  std::optional<Timestamp> exited_at;
  uint64_t oom_kills = 0;  // in the container's cgroup, since it was made
  std::optional<Timestamp> last_oom_at;
  template <class V>
  void fields(V& v) {
    v(1, pid);
    v(2, exit_status);
    v(3, signal);
    v(4, exited_at);
    v(5, oom_kills);
    v(6, last_oom_at);
  }
};

}  // namespace skiff::shim_api
