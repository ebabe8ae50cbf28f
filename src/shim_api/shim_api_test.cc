// Our hand-written messages against what protoc makes of the same fields in proto/.
#include <cstdlib>
#include <fstream>

#include <gtest/gtest.h>

#include "shim_api/events.h"
#include "shim_api/private.h"
#include "sys/file.h"

namespace skiff::shim_api {
namespace {

std::string protoc(const std::string& file, const std::string& type, const std::string& text) {
  sys::TempDir dir;
  std::string in = dir.path() / "in", out = dir.path() / "out";
  EXPECT_TRUE(sys::write_file(in, text));
  std::string command = fmt::format("protoc -I{0}/proto --encode={1} {0}/proto/{2} <{3} >{4}",
                                    SKIFF_SOURCE_DIR, type, file, in, out);
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
  return sys::read_file(out).value_or("");
}

template <class M>
void same(const M& message, const std::string& file, const std::string& type,
          const std::string& text) {
  std::string wire = protoc(file, type, text);
  EXPECT_FALSE(wire.empty());
  EXPECT_EQ(ttrpc::encode(message), wire) << type;
  auto back = ttrpc::decode<M>(wire);
  ASSERT_TRUE(back) << type;
  EXPECT_EQ(ttrpc::encode(*back), wire) << type;
}

constexpr char kTask[] = "containerd/task.proto";
constexpr char kEvents[] = "containerd/events.proto";
constexpr char kShim[] = "skiff/shim/v1/shim.proto";

TEST(ShimApi, TaskMessagesAreWireEqual) {
  same(CreateTaskRequest{"i",
                         "b",
                         {{"t", "s", "g", {"ro", "x"}}},
                         true,
                         "in",
                         "out",
                         "err",
                         "c",
                         "p",
                         Any{"u", "v"}},
       kTask, "containerd.task.v3.CreateTaskRequest",
       R"(id:"i" bundle:"b" rootfs{type:"t" source:"s" target:"g" options:"ro" options:"x"}
          terminal:true stdin:"in" stdout:"out" stderr:"err" checkpoint:"c" parent_checkpoint:"p"
          options{type_url:"u" value:"v"})");
  same(StateResponse{"i", "b", 7, TaskStatus::kStopped, "in", "out", "err", true, 137,
                     Timestamp{5, 6}, "e"},
       kTask, "containerd.task.v3.StateResponse",
       R"(id:"i" bundle:"b" pid:7 status:STOPPED stdin:"in" stdout:"out" stderr:"err" terminal:true
          exit_status:137 exited_at{seconds:5 nanos:6} exec_id:"e")");
  same(ExecProcessRequest{"i", "e", true, "in", "out", "err", Any{"u", "v"}}, kTask,
       "containerd.task.v3.ExecProcessRequest",
       R"(id:"i" exec_id:"e" terminal:true stdin:"in" stdout:"out" stderr:"err"
          spec{type_url:"u" value:"v"})");
  same(KillRequest{"i", "e", 9, true}, kTask, "containerd.task.v3.KillRequest",
       R"(id:"i" exec_id:"e" signal:9 all:true)");
  same(ResizePtyRequest{"i", "e", 80, 24}, kTask, "containerd.task.v3.ResizePtyRequest",
       R"(id:"i" exec_id:"e" width:80 height:24)");
  same(PidsResponse{{{3, {}}, {4, Any{"u", ""}}}}, kTask, "containerd.task.v3.PidsResponse",
       R"(processes{pid:3} processes{pid:4 info{type_url:"u"}})");
  same(UpdateTaskRequest{"i", Any{"u", "{}"}, {{"k", "v"}}}, kTask,
       "containerd.task.v3.UpdateTaskRequest",
       R"(id:"i" resources{type_url:"u" value:"{}"} annotations{key:"k" value:"v"})");
  same(ConnectResponse{1, 2, "v"}, kTask, "containerd.task.v3.ConnectResponse",
       R"(shim_pid:1 task_pid:2 version:"v")");
  same(RuncOptions{"crun", "/r", true, 1, 2}, kTask, "containerd.task.v3.RuncOptions",
       R"(io_uid:1 io_gid:2 binary_name:"crun" root:"/r" systemd_cgroup:true)");
}

TEST(ShimApi, EventsAreWireEqual) {
  same(
      ForwardRequest{Envelope{Timestamp{1, 2}, "ns", "/t", Any{"u", "v"}}}, kEvents,
      "containerd.events.ForwardRequest",
      R"(envelope{timestamp{seconds:1 nanos:2} namespace:"ns" topic:"/t" event{type_url:"u" value:"v"}})");
  same(TaskExit{"c", "e", 1, 137, Timestamp{1, 2}}, kEvents, "containerd.events.TaskExit",
       R"(container_id:"c" id:"e" pid:1 exit_status:137 exited_at{seconds:1 nanos:2})");
  same(TaskCreate{"c", "b", {}, TaskIo{"i", "o", "e", true}, "k", 9}, kEvents,
       "containerd.events.TaskCreate",
       R"(container_id:"c" bundle:"b" io{stdin:"i" stdout:"o" stderr:"e" terminal:true}
          checkpoint:"k" pid:9)");
  same(TaskDelete{"c", 1, 2, Timestamp{3, 0}, "x"}, kEvents, "containerd.events.TaskDelete",
       R"(container_id:"c" pid:1 exit_status:2 exited_at{seconds:3} id:"x")");
}

TEST(ShimApi, PrivateMessagesAreWireEqual) {
  same(CreateRequest{"i",
                     "b",
                     "runc",
                     "/r",
                     {true, true, false, true, 24, 80},
                     true,
                     true,
                     {{"bind", "", "", {}}}},
       kShim, "skiff.shim.v1.CreateRequest",
       R"(id:"i" bundle:"b" runtime:"runc" runtime_root:"/r"
          stdio{in:true out:true terminal:true rows:24 columns:80} start:true delete_on_exit:true
          rootfs{type:"bind"})");
  same(ExitResponse{1, 137, 9, Timestamp{1, 2}, 3, Timestamp{4, 5}}, kShim,
       "skiff.shim.v1.ExitResponse",
       R"(pid:1 exit_status:137 signal:9 exited_at{seconds:1 nanos:2} oom_kills:3
          last_oom_at{seconds:4 nanos:5})");
  same(HelloResponse{1, "v", 2}, kShim, "skiff.shim.v1.HelloResponse",
       R"(protocol:1 version:"v" pid:2)");
}

}  // namespace
}  // namespace skiff::shim_api
