// The messages of containerd's shim task API, package containerd.task.v2 and .v3: both have the
// same methods and, but for CreateTaskRequest.oom_path (v2 only, unused), the same fields. The wire
// interface stands in proto/containerd/task.proto.
// Fact source: containerd's public protocol.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ttrpc/well_known.h"

namespace skiff::shim_api {

using ttrpc::Any;
using ttrpc::Empty;
using ttrpc::Timestamp;

inline constexpr char kTaskV2[] = "containerd.task.v2.Task";
inline constexpr char kTaskV3[] = "containerd.task.v3.Task";

enum class TaskStatus : int32_t {
  kUnknown = 0,
  kCreated = 1,
  kRunning = 2,
  kStopped = 3,
  kPaused = 4,
  kPausing = 5,
};

struct Mount {
  std::string type, source, target;
  std::vector<std::string> options;
  template <class V>
  void fields(V& v) {
    v(1, type);
    v(2, source);
    v(3, target);
    v(4, options);
  }
};

struct CreateTaskRequest {
  std::string id, bundle;
  std::vector<Mount> rootfs;
  bool terminal = false;
  std::string stdin_path, stdout_path, stderr_path, checkpoint, parent_checkpoint;
  std::optional<Any> options;
  template <class V>
  void fields(V& v) {
    v(1, id);
    v(2, bundle);
    v(3, rootfs);
    v(4, terminal);
    v(5, stdin_path);
    v(6, stdout_path);
    v(7, stderr_path);
    v(8, checkpoint);
    v(9, parent_checkpoint);
    v(10, options);
  }
};

// Also StartResponse.
struct PidResponse {
  uint32_t pid = 0;
  template <class V>
  void fields(V& v) {
    v(1, pid);
  }
};

// Names a container's init (no exec id) or one of its execs: State, Start, Delete and Wait take it;
// Pids, Pause, Resume, Stats and Connect only the id.
struct ProcessRequest {
  std::string id, exec_id;
  template <class V>
  void fields(V& v) {
    v(1, id);
    v(2, exec_id);
  }
};

struct DeleteResponse {
  uint32_t pid = 0, exit_status = 0;
  std::optional<Timestamp> exited_at;
  template <class V>
  void fields(V& v) {
    v(1, pid);
    v(2, exit_status);
    v(3, exited_at);
  }
};

struct ExecProcessRequest {
  std::string id, exec_id;
  bool terminal = false;
  std::string stdin_path, stdout_path, stderr_path;
  std::optional<Any> spec;  // its value is the OCI process as JSON
  template <class V>
  void fields(V& v) {
    v(1, id);
    v(2, exec_id);
    v(3, terminal);
    v(4, stdin_path);
    v(5, stdout_path);
    v(6, stderr_path);
    v(7, spec);
  }
};

struct ResizePtyRequest {
  std::string id, exec_id;
  uint32_t width = 0, height = 0;
  template <class V>
  void fields(V& v) {
    v(1, id);
    v(2, exec_id);
    v(3, width);
    v(4, height);
  }
};

struct StateResponse {
  std::string id, bundle;
  uint32_t pid = 0;
  TaskStatus status = TaskStatus::kUnknown;
  std::string stdin_path, stdout_path, stderr_path;
  bool terminal = false;
  uint32_t exit_status = 0;
  std::optional<Timestamp> exited_at;
  std::string exec_id;
  template <class V>
  void fields(V& v) {
    v(1, id);
    v(2, bundle);
    v(3, pid);
    v(4, status);
    v(5, stdin_path);
    v(6, stdout_path);
    v(7, stderr_path);
    v(8, terminal);
    v(9, exit_status);
    v(10, exited_at);
    v(11, exec_id);
  }
};

struct KillRequest {
  std::string id, exec_id;
  uint32_t signal = 0;
  bool all = false;
  template <class V>
  void fields(V& v) {
    v(1, id);
    v(2, exec_id);
    v(3, signal);
    v(4, all);
  }
};

struct CloseIoRequest {
  std::string id, exec_id;
  bool stdin_too = false;
  template <class V>
  void fields(V& v) {
    v(1, id);
    v(2, exec_id);
    v(3, stdin_too);
  }
};

struct ProcessInfo {
  uint32_t pid = 0;
  std::optional<Any> info;
  template <class V>
  void fields(V& v) {
    v(1, pid);
    v(2, info);
  }
};

struct PidsResponse {
  std::vector<ProcessInfo> processes;
  template <class V>
  void fields(V& v) {
    v(1, processes);
  }
};

struct UpdateTaskRequest {
  std::string id;
  std::optional<Any> resources;  // its value is OCI's linux.resources as JSON
  std::map<std::string, std::string> annotations;
  template <class V>
  void fields(V& v) {
    v(1, id);
    v(2, resources);
    v(3, annotations);
  }
};

struct WaitResponse {
  uint32_t exit_status = 0;
  std::optional<Timestamp> exited_at;
  template <class V>
  void fields(V& v) {
    v(1, exit_status);
    v(2, exited_at);
  }
};

struct StatsResponse {
  std::optional<Any> stats;
  template <class V>
  void fields(V& v) {
    v(1, stats);
  }
};

struct ConnectResponse {
  uint32_t shim_pid = 0, task_pid = 0;
  std::string version;
  template <class V>
  void fields(V& v) {
    v(1, shim_pid);
    v(2, task_pid);
    v(3, version);
  }
};

struct ShutdownRequest {
  std::string id;
  bool now = false;
  template <class V>
  void fields(V& v) {
    v(1, id);
    v(2, now);
  }
};

// containerd.runc.v1.Options: the part of the runc shim's options that is honoured here.
struct RuncOptions {
  std::string binary_name, root;
  bool systemd_cgroup = false;
  uint32_t io_uid = 0, io_gid = 0;
  template <class V>
  void fields(V& v) {
    v(4, io_uid);
    v(5, io_gid);
    v(6, binary_name);
    v(7, root);
    v(9, systemd_cgroup);
  }
};

}  // namespace skiff::shim_api
