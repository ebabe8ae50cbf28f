// Events that a shim sends to containerd (service containerd.services.events.ttrpc.v1.Events on
// TTRPC_ADDRESS) and the envelope they travel in.
// Fact source: containerd's public protocol.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "shim_api/task.h"

namespace skiff::shim_api {

inline constexpr char kEventsService[] = "containerd.services.events.ttrpc.v1.Events";

struct Envelope {
  std::optional<Timestamp> timestamp;
  std::string name_space, topic;
  std::optional<Any> event;
  template <class V>
  void fields(V& v) {
    v(1, timestamp);
    v(2, name_space);
    v(3, topic);
    v(4, event);
  }
};

struct ForwardRequest {
  std::optional<Envelope> envelope;
  template <class V>
  void fields(V& v) {
    v(1, envelope);
  }
};

struct TaskIo {
  std::string stdin_path, stdout_path, stderr_path;
  bool terminal = false;
  template <class V>
  void fields(V& v) {
    v(1, stdin_path);
    v(2, stdout_path);
    v(3, stderr_path);
    v(4, terminal);
  }
};

struct TaskCreate {
  static constexpr char kTopic[] = "/tasks/create", kType[] = "containerd.events.TaskCreate";
  std::string container_id, bundle;
  std::vector<Mount> rootfs;
  std::optional<TaskIo> io;
  std::string checkpoint;
  uint32_t pid = 0;
  template <class V>
  void fields(V& v) {
    v(1, container_id);
    v(2, bundle);
    v(3, rootfs);
    v(4, io);
    v(5, checkpoint);
    v(6, pid);
  }
};

struct TaskStart {
  static constexpr char kTopic[] = "/tasks/start", kType[] = "containerd.events.TaskStart";
  std::string container_id;
  uint32_t pid = 0;
  template <class V>
  void fields(V& v) {
    v(1, container_id);
    v(2, pid);
  }
};

struct TaskDelete {
  static constexpr char kTopic[] = "/tasks/delete", kType[] = "containerd.events.TaskDelete";
  std::string container_id;
  uint32_t pid = 0, exit_status = 0;
  std::optional<Timestamp> exited_at;
  std::string id;
  template <class V>
  void fields(V& v) {
    v(1, container_id);
    v(2, pid);
    v(3, exit_status);
    v(4, exited_at);
    v(5, id);
  }
};

struct TaskExit {
  static constexpr char kTopic[] = "/tasks/exit", kType[] = "containerd.events.TaskExit";
  std::string container_id, id;  // id is the exec's, or the container's for its init
  uint32_t pid = 0, exit_status = 0;
  std::optional<Timestamp> exited_at;
  template <class V>
  void fields(V& v) {
    v(1, container_id);
    v(2, id);
    v(3, pid);
    v(4, exit_status);
    v(5, exited_at);
  }
};

struct TaskOom {
  static constexpr char kTopic[] = "/tasks/oom", kType[] = "containerd.events.TaskOOM";
  std::string container_id;
  template <class V>
  void fields(V& v) {
    v(1, container_id);
  }
};

struct TaskExecAdded {
  static constexpr char kTopic[] = "/tasks/exec-added", kType[] = "containerd.events.TaskExecAdded";
  std::string container_id, exec_id;
  template <class V>
  void fields(V& v) {
    v(1, container_id);
    v(2, exec_id);
  }
};

struct TaskExecStarted {
  static constexpr char kTopic[] = "/tasks/exec-started",
                        kType[] = "containerd.events.TaskExecStarted";
  std::string container_id, exec_id;
  uint32_t pid = 0;
  template <class V>
  void fields(V& v) {
    v(1, container_id);
    v(2, exec_id);
    v(3, pid);
  }
};

struct TaskPaused {
  static constexpr char kTopic[] = "/tasks/paused", kType[] = "containerd.events.TaskPaused";
  std::string container_id;
  template <class V>
  void fields(V& v) {
    v(1, container_id);
  }
};

struct TaskResumed {
  static constexpr char kTopic[] = "/tasks/resumed", kType[] = "containerd.events.TaskResumed";
  std::string container_id;
  template <class V>
  void fields(V& v) {
    v(1, container_id);
  }
};

}  // namespace skiff::shim_api
