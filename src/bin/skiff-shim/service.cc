#include "bin/skiff-shim/service.h"

#include <csignal>

#include <unistd.h>

#include "base/version.h"
#include "sys/file.h"

namespace skiff::shim {
namespace {

using shim_api::Empty;
using shim_api::PidResponse;
using shim_api::ProcessRequest;

Result<PidResponse> to_response(Result<int> pid) {
  if (!pid) return std::unexpected(std::move(pid).error());
  return PidResponse{static_cast<uint32_t>(*pid)};
}

Result<Empty> to_empty(Status status) {
  if (!status) return std::unexpected(std::move(status).error());
  return Empty{};
}

// Ids become parts of file names and arguments of the OCI runtime.
Status check_id(std::string_view id) {
  auto plain = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  };
  bool good = !id.empty() && id.size() <= 128 && plain(id[0]);
  for (char c : id) good = good && (plain(c) || c == '_' || c == '.' || c == '-');
  if (!good) return fail(Code::kInvalidArgument, "id {:?}: use 1 to 128 of a-z A-Z 0-9 _ . -", id);
  return ok();
}

IoRequest io_of(const shim_api::Stdio& wanted, std::vector<sys::UniqueFd> fds, Status& status) {
  IoRequest io;
  io.terminal = wanted.terminal;
  io.rows = wanted.rows;
  io.columns = wanted.columns;
  size_t next = 0;
  for (auto [there, fd] :
       {std::pair{wanted.in, &io.in}, {wanted.out, &io.out}, {wanted.err, &io.err}}) {
    if (!there) continue;
    if (next == fds.size()) {
      status = fail(Code::kInvalidArgument, "{} stdio descriptors came; more were announced", next);
      return io;
    }
    *fd = std::move(fds[next++]);
  }
  return io;
}

template <class Request>
IoRequest io_by_name(const Request& request) {
  IoRequest io;
  io.in_path = request.stdin_path;
  io.out_path = request.stdout_path;
  io.err_path = request.stderr_path;
  io.terminal = request.terminal;
  return io;
}

template <class Request>
Process::Names names_of(const Request& request) {
  return {request.stdin_path, request.stdout_path, request.stderr_path, request.terminal};
}

}  // namespace

ShimService::ShimService(std::shared_ptr<Shared> shared, std::function<void()> on_shutdown,
                         std::function<void()> on_empty)
    : shared_(std::move(shared)),
      on_shutdown_(std::move(on_shutdown)),
      on_empty_(std::move(on_empty)) {}

Result<std::shared_ptr<Container>> ShimService::find(const std::string& id) {
  auto containers = containers_.lock();
  auto found = containers->find(id);
  if (found == containers->end() || !found->second)
    return fail(Code::kNotFound, "no container {} in this shim", id);
  return found->second;
}

Result<int> ShimService::make(const Context& context, Container::Options options,
                              Process::Names names, IoRequest io, bool start) {
  SKIFF_TRY(check_id(options.id));
  std::string id = options.id;
  if (!containers_.lock()->emplace(id, nullptr).second)
    return fail(Code::kAlreadyExists, "container {} exists in this shim", id);
  auto container = std::make_shared<Container>(shared_, std::move(options));
  auto pid = container->create(context, std::move(names), std::move(io), start);
  auto containers = containers_.lock();
  if (pid) {
    (*containers)[id] = std::move(container);
  } else {
    containers->erase(id);
    if (containers->empty()) on_empty_();
  }
  return pid;
}

Result<ExitResponse> ShimService::remove(const Context& context, const ProcessRequest& request) {
  auto container = SKIFF_TRY(find(request.id));
  if (!request.exec_id.empty()) return container->remove_exec(request.exec_id);
  ExitResponse exit = SKIFF_TRY(container->remove(context));
  containers_.lock()->erase(request.id);
  return exit;
}

Result<shim_api::StateResponse> ShimService::state(const ProcessRequest& request) {
  auto container = SKIFF_TRY(find(request.id));
  auto process = SKIFF_TRY(container->process(request.exec_id));
  shim_api::StateResponse response;
  response.id = request.id;
  response.exec_id = request.exec_id;
  response.bundle = container->bundle();
  response.stdin_path = process->names().stdin_path;
  response.stdout_path = process->names().stdout_path;
  response.stderr_path = process->names().stderr_path;
  response.terminal = process->names().terminal;
  bool paused = container->paused();
  auto state = process->state().lock();
  response.pid = static_cast<uint32_t>(state->pid);
  response.status = state->status;
  if (paused && state->status == TaskStatus::kRunning) response.status = TaskStatus::kPaused;
  if (state->exit) {
    response.exit_status = state->exit->exit_status;
    response.exited_at = state->exit->exited_at;
  }
  return response;
}

Status ShimService::shutdown(const shim_api::ShutdownRequest& request) {
  // containerd asks after each container that goes; others may live in this shim.
  if (!empty() && !request.now)
    return fail(Code::kFailedPrecondition, "containers are left in this shim");
  if (request.now) kill_all();
  on_shutdown_();
  return ok();
}

void ShimService::kill_all() {
  for (auto& [id, container] : *containers_.lock())
    if (container) static_cast<void>(container->kill({}, "", SIGKILL, true));
}

template <class Answer>
void ShimService::wait(const std::shared_ptr<ttrpc::Call>& call, Answer answer) {
  auto process = [&]() -> Result<std::shared_ptr<Process>> {
    auto request = SKIFF_TRY(ttrpc::decode<ProcessRequest>(call->payload()));
    return SKIFF_TRY(find(request.id))->process(request.exec_id);
  }();
  if (!process) return call->reply(std::unexpected(process.error()));
  int waiter = (*process)->when_exited(
      [call, answer](const ExitResponse& exit) { call->reply(ttrpc::encode(answer(exit))); });
  if (waiter == 0) return;
  // A caller that gives up must not be kept until the exit, which may be months away.
  call->on_stop([process = std::weak_ptr(*process), waiter] {
    if (auto alive = process.lock()) alive->forget(waiter);
  });
}

ttrpc::Service ShimService::task_service(const char* name) {
  ttrpc::Service service(name);
  add_life(service);
  add_control(service);
  add_questions(service);
  return service;
}

void ShimService::add_life(ttrpc::Service& service) {
  service.unary<shim_api::CreateTaskRequest>(
      "Create",
      [this](const Context& context, shim_api::CreateTaskRequest request) -> Result<PidResponse> {
        if (!request.checkpoint.empty())
          return fail(Code::kUnimplemented, "restoring a checkpoint is not supported");
        Container::Options options{request.id, request.bundle, {}, request.rootfs, false};
        if (request.options && request.options->type_url == "containerd.runc.v1.Options") {
          auto runc = SKIFF_TRY(ttrpc::decode<shim_api::RuncOptions>(request.options->value));
          options.runtime = {runc.binary_name, runc.root, runc.systemd_cgroup};
        }
        if (options.runtime.root.empty()) options.runtime.root = "/run/containerd/runc";
        options.runtime.root += "/" + context.name_space();
        return to_response(
            make(context, std::move(options), names_of(request), io_by_name(request), false));
      });
  service.unary<ProcessRequest>(
      "Start", [this](const Context& context, ProcessRequest request) -> Result<PidResponse> {
        auto container = SKIFF_TRY(find(request.id));
        return to_response(request.exec_id.empty()
                               ? container->start(context)
                               : container->start_exec(context, request.exec_id, true));
      });
  service.unary<shim_api::ExecProcessRequest>(
      "Exec", [this](const Context&, shim_api::ExecProcessRequest request) -> Result<Empty> {
        SKIFF_TRY(check_id(request.exec_id));
        if (!request.spec) return fail(Code::kInvalidArgument, "an exec needs a process");
        return to_empty(SKIFF_TRY(find(request.id))
                            ->add_exec(request.exec_id, request.spec->value, names_of(request),
                                       io_by_name(request)));
      });
  service.unary<ProcessRequest>(
      "Delete",
      [this](const Context& context, ProcessRequest request) -> Result<shim_api::DeleteResponse> {
        ExitResponse exit = SKIFF_TRY(remove(context, request));
        return shim_api::DeleteResponse{exit.pid, exit.exit_status, exit.exited_at};
      });
  service.unary<shim_api::ShutdownRequest>(
      "Shutdown", [this](const Context&, shim_api::ShutdownRequest request) {
        Status ended = shutdown(request);
        // containerd takes a refusal as a failure; that others live here is none.
        if (!ended && ended.error().is(Code::kFailedPrecondition)) ended = ok();
        return to_empty(std::move(ended));
      });
}

void ShimService::add_control(ttrpc::Service& service) {
  service.unary<shim_api::KillRequest>(
      "Kill", [this](const Context& context, shim_api::KillRequest request) -> Result<Empty> {
        return to_empty(SKIFF_TRY(find(request.id))
                            ->kill(context, request.exec_id, int(request.signal), request.all));
      });
  service.unary<ProcessRequest>(
      "Pause", [this](const Context& context, ProcessRequest request) -> Result<Empty> {
        return to_empty(SKIFF_TRY(find(request.id))->pause(context));
      });
  service.unary<ProcessRequest>(
      "Resume", [this](const Context& context, ProcessRequest request) -> Result<Empty> {
        return to_empty(SKIFF_TRY(find(request.id))->resume(context));
      });
  service.unary<shim_api::ResizePtyRequest>(
      "ResizePty", [this](const Context&, shim_api::ResizePtyRequest request) -> Result<Empty> {
        auto process = SKIFF_TRY(SKIFF_TRY(find(request.id))->process(request.exec_id));
        return to_empty(process->io().resize(request.height, request.width));
      });
  service.unary<shim_api::CloseIoRequest>(
      "CloseIO", [this](const Context&, shim_api::CloseIoRequest request) -> Result<Empty> {
        auto process = SKIFF_TRY(SKIFF_TRY(find(request.id))->process(request.exec_id));
        if (request.stdin_too) process->io().close_stdin();
        return Empty{};
      });
  service.unary<shim_api::UpdateTaskRequest>(
      "Update",
      [this](const Context& context, shim_api::UpdateTaskRequest request) -> Result<Empty> {
        if (!request.resources) return fail(Code::kInvalidArgument, "an update needs resources");
        return to_empty(SKIFF_TRY(find(request.id))->update(context, request.resources->value));
      });
  service.unary<ProcessRequest>("Checkpoint", [](const Context&, ProcessRequest) -> Result<Empty> {
    return fail(Code::kUnimplemented, "checkpoints are not supported");
  });
}

void ShimService::add_questions(ttrpc::Service& service) {
  service.unary<ProcessRequest>(
      "State", [this](const Context&, ProcessRequest request) { return state(request); });
  service.deferred("Wait", [this](std::shared_ptr<ttrpc::Call> call) {
    wait(call, [](const ExitResponse& exit) {
      return shim_api::WaitResponse{exit.exit_status, exit.exited_at};
    });
  });
  service.unary<ProcessRequest>(
      "Pids", [this](const Context&, ProcessRequest request) -> Result<shim_api::PidsResponse> {
        shim_api::PidsResponse response;
        for (int pid : SKIFF_TRY(SKIFF_TRY(find(request.id))->pids()))
          response.processes.push_back({static_cast<uint32_t>(pid), {}});
        return response;
      });
  service.unary<ProcessRequest>(
      "Stats", [this](const Context&, ProcessRequest request) -> Result<shim_api::StatsResponse> {
        return shim_api::StatsResponse{SKIFF_TRY(SKIFF_TRY(find(request.id))->stats())};
      });
  service.unary<ProcessRequest>(
      "Connect",
      [this](const Context&, ProcessRequest request) -> Result<shim_api::ConnectResponse> {
        uint32_t pid = 0;
        if (auto container = find(request.id))
          pid = static_cast<uint32_t>(SKIFF_TRY((*container)->process(""))->state().lock()->pid);
        return shim_api::ConnectResponse{static_cast<uint32_t>(::getpid()), pid, kVersion};
      });
}

ttrpc::Service ShimService::private_service() {
  ttrpc::Service service(shim_api::kPrivateService);
  service.unary<shim_api::HelloRequest>(
      "Hello",
      [](const Context&, shim_api::HelloRequest request) -> Result<shim_api::HelloResponse> {
        return shim_api::HelloResponse{std::min(request.protocol, shim_api::kProtocolVersion),
                                       kVersion, static_cast<uint32_t>(::getpid())};
      });
  service.raw("Create", [this](ttrpc::Call& call) -> Result<std::string> {
    auto request = SKIFF_TRY(ttrpc::decode<shim_api::CreateRequest>(call.payload()));
    Status described;
    IoRequest io = io_of(request.stdio, call.take_fds(), described);
    SKIFF_TRY(std::move(described));
    Container::Options options{request.id,
                               request.bundle,
                               {request.runtime, request.runtime_root, false},
                               request.rootfs,
                               request.delete_on_exit};
    Process::Names names{{}, {}, {}, request.stdio.terminal};
    auto pid = make(call.context(), std::move(options), names, std::move(io), request.start);
    return ttrpc::encode(SKIFF_TRY(to_response(std::move(pid))));
  });
  service.raw("Exec", [this](ttrpc::Call& call) -> Result<std::string> {
    auto request = SKIFF_TRY(ttrpc::decode<shim_api::ExecRequest>(call.payload()));
    SKIFF_TRY(check_id(request.exec_id));
    Status described;
    IoRequest io = io_of(request.stdio, call.take_fds(), described);
    SKIFF_TRY(std::move(described));
    auto container = SKIFF_TRY(find(request.id));
    SKIFF_TRY(container->add_exec(request.exec_id, std::move(request.process),
                                  {{}, {}, {}, request.stdio.terminal}, std::move(io)));
    auto pid = container->start_exec(call.context(), request.exec_id, false);
    return ttrpc::encode(SKIFF_TRY(to_response(std::move(pid))));
  });
  service.deferred("Wait", [this](std::shared_ptr<ttrpc::Call> call) {
    wait(call, [](const ExitResponse& exit) { return exit; });
  });
  service.unary<ProcessRequest>("Delete", [this](const Context& context, ProcessRequest request) {
    return remove(context, request);
  });
  service.unary<shim_api::ShutdownRequest>(
      "Shutdown", [this](const Context&, shim_api::ShutdownRequest request) {
        return to_empty(shutdown(request));
      });
  return service;
}

}  // namespace skiff::shim
