#include "runtime/ttrpc_shim.h"

#include "base/version.h"

namespace skiff::runtime {
namespace {

using shim_api::kPrivateService;
using shim_api::kTaskV3;
using shim_api::ProcessRequest;

shim_api::Stdio describe(const Stdio& stdio) {
  return {bool(stdio.in), bool(stdio.out), bool(stdio.err),
          stdio.terminal, stdio.rows,      stdio.columns};
}

std::vector<sys::UniqueFd> descriptors(Stdio stdio) {
  std::vector<sys::UniqueFd> fds;
  for (sys::UniqueFd* fd : {&stdio.in, &stdio.out, &stdio.err})
    if (*fd) fds.push_back(std::move(*fd));
  return fds;
}

ProcessRequest to_request(const Process& process) { return {process.id, process.exec_id}; }

ExitStatus to_exit(const shim_api::ExitResponse& exit) {
  return {exit.exit_status, exit.signal,
          ttrpc::from_timestamp(exit.exited_at.value_or(ttrpc::Timestamp{})), exit.oom_kills};
}

TaskStatus to_status(shim_api::TaskStatus status) {
  switch (status) {
    case shim_api::TaskStatus::kRunning: return TaskStatus::kRunning;
    case shim_api::TaskStatus::kPaused:
    case shim_api::TaskStatus::kPausing: return TaskStatus::kPaused;
    case shim_api::TaskStatus::kStopped: return TaskStatus::kStopped;
    default: return TaskStatus::kCreated;
  }
}

Status done(Result<shim_api::Empty> answer) {
  if (!answer) return std::unexpected(std::move(answer).error());
  return ok();
}

}  // namespace

Result<shim_api::HelloResponse> TtrpcShim::hello(const Context& context) {
  return client_->call<shim_api::HelloResponse>(
      context, kPrivateService, "Hello",
      shim_api::HelloRequest{shim_api::kProtocolVersion, kVersion});
}

Result<uint32_t> TtrpcShim::create(const Context& context, const CreateOptions& options,
                                   Stdio stdio) {
  shim_api::CreateRequest request;
  request.id = options.id;
  request.bundle = options.bundle;
  request.runtime = options.runtime;
  request.runtime_root = runtime_root_;
  request.stdio = describe(stdio);
  request.start = options.start;
  request.delete_on_exit = options.delete_on_exit;
  auto answer = SKIFF_TRY(client_->call<shim_api::PidResponse>(
      context, kPrivateService, "Create", request, descriptors(std::move(stdio))));
  return answer.pid;
}

Result<uint32_t> TtrpcShim::start(const Context& context, const std::string& id) {
  return SKIFF_TRY(client_->call<shim_api::PidResponse>(context, kTaskV3, "Start",
                                                        ProcessRequest{id, ""}))
      .pid;
}

Result<uint32_t> TtrpcShim::exec(const Context& context, const Process& process,
                                 const std::string& process_json, Stdio stdio) {
  shim_api::ExecRequest request{process.id, process.exec_id, process_json, describe(stdio)};
  auto answer = SKIFF_TRY(client_->call<shim_api::PidResponse>(
      context, kPrivateService, "Exec", request, descriptors(std::move(stdio))));
  return answer.pid;
}

Status TtrpcShim::kill(const Context& context, const Process& process, int signal, bool all) {
  return done(client_->call<shim_api::Empty>(
      context, kTaskV3, "Kill",
      shim_api::KillRequest{process.id, process.exec_id, static_cast<uint32_t>(signal), all}));
}

Status TtrpcShim::resize(const Context& context, const Process& process, uint32_t rows,
                         uint32_t columns) {
  return done(client_->call<shim_api::Empty>(
      context, kTaskV3, "ResizePty",
      shim_api::ResizePtyRequest{process.id, process.exec_id, columns, rows}));
}

Status TtrpcShim::close_stdin(const Context& context, const Process& process) {
  return done(client_->call<shim_api::Empty>(
      context, kTaskV3, "CloseIO", shim_api::CloseIoRequest{process.id, process.exec_id, true}));
}

Result<TaskState> TtrpcShim::state(const Context& context, const Process& process) {
  auto answer = SKIFF_TRY(
      client_->call<shim_api::StateResponse>(context, kTaskV3, "State", to_request(process)));
  TaskState state{to_status(answer.status), answer.pid, {}};
  if (state.status != TaskStatus::kStopped) return state;
  // Only our own message has the signal and the OOM kills; a stopped process answers at once.
  state.exit = to_exit(SKIFF_TRY(client_->call<shim_api::ExitResponse>(
      context, kPrivateService, "Wait", to_request(process))));
  return state;
}

std::function<void()> TtrpcShim::when_exited(const Process& process, ExitFn exited) {
  return client_->call_async({}, kPrivateService, "Wait", ttrpc::encode(to_request(process)),
                             [exited = std::move(exited)](Result<ttrpc::Reply> reply) {
                               if (!reply) return exited(std::unexpected(std::move(reply).error()));
                               auto exit = ttrpc::decode<shim_api::ExitResponse>(reply->payload);
                               if (!exit) return exited(std::unexpected(std::move(exit).error()));
                               exited(to_exit(*exit));
                             });
}

Result<ExitStatus> TtrpcShim::remove(const Context& context, const Process& process) {
  return to_exit(SKIFF_TRY(client_->call<shim_api::ExitResponse>(context, kPrivateService, "Delete",
                                                                 to_request(process))));
}

Status TtrpcShim::shutdown(const Context& context) {
  auto answer = client_->call<shim_api::Empty>(context, kPrivateService, "Shutdown",
                                               shim_api::ShutdownRequest{});
  // It may go before its answer does.
  if (!answer && answer.error().is(Code::kUnavailable)) return ok();
  return done(std::move(answer));
}

// The runtimes' words: runc says `exec: "x": executable file not found in $PATH` or `exec: "/x":
// stat /x: no such file or directory`, crun "executable file `x` not found in $PATH" or "open
// executable".
int exit_code_of_failure(const Error& error) {
  std::string text = error.message();
  for (char& c : text) c = static_cast<char>(tolower(static_cast<unsigned char>(c)));
  auto says = [&](std::string_view words) { return text.find(words) != std::string::npos; };
  if (!says("exec: \"") && !says("executable")) return 125;
  if (says("not found") || says("no such file or directory")) return 127;
  if (says("permission denied") || says("is a directory") || says("exec format error")) return 126;
  return 125;
}

}  // namespace skiff::runtime
