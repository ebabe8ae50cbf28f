#include "runtime/fake_shim.h"

namespace skiff::runtime {

Status FakeShims::enter(State& state, const std::string& method) {
  state.calls[method]++;
  auto fault = state.faults.find(method);
  if (fault == state.faults.end()) return ok();
  Error error = fault->second;
  state.faults.erase(fault);
  return std::unexpected(std::move(error));
}

class FakeShim : public Shim {
 public:
  FakeShim(FakeShims& owner, std::shared_ptr<Guarded<FakeShims::State>> state, std::string id)
      : owner_(owner), state_(std::move(state)), id_(std::move(id)) {}

  Result<uint32_t> create(const Context&, const CreateOptions& options, Stdio) override {
    auto state = state_->lock();
    auto& tasks = *SKIFF_TRY(tasks_of(*state, "create"));
    if (tasks.contains("")) return fail(Code::kAlreadyExists, "container {} exists", options.id);
    return begin(*state, tasks, "", options.start ? TaskStatus::kRunning : TaskStatus::kCreated);
  }
  Result<uint32_t> start(const Context&, const std::string& id) override {
    auto state = state_->lock();
    auto& task = *SKIFF_TRY(find(*state, "start", {id, ""}));
    if (task.state.status != TaskStatus::kCreated)
      return fail(Code::kFailedPrecondition, "container {} has been started before", id);
    task.state.status = TaskStatus::kRunning;
    return task.state.pid;
  }
  Result<uint32_t> exec(const Context&, const Process& process, const std::string&,
                        Stdio) override {
    auto state = state_->lock();
    auto& tasks = *SKIFF_TRY(tasks_of(*state, "exec"));
    if (tasks.contains(process.exec_id))
      return fail(Code::kAlreadyExists, "exec {} exists", process.exec_id);
    return begin(*state, tasks, process.exec_id, TaskStatus::kRunning);
  }
  Status kill(const Context&, const Process& process, int signal, bool) override {
    {
      auto state = state_->lock();
      auto& task = *SKIFF_TRY(find(*state, "kill", process));
      if (task.state.status == TaskStatus::kStopped) return fail(Code::kNotFound, "it has ended");
    }
    owner_.end(process, {.code = 128u + static_cast<uint32_t>(signal),
                         .signal = static_cast<uint32_t>(signal)});
    return ok();
  }
  Status resize(const Context&, const Process& process, uint32_t, uint32_t) override {
    auto state = state_->lock();
    SKIFF_TRY(find(*state, "resize", process));
    return ok();
  }
  Status close_stdin(const Context&, const Process& process) override {
    auto state = state_->lock();
    SKIFF_TRY(find(*state, "close_stdin", process));
    return ok();
  }
  Result<TaskState> state(const Context&, const Process& process) override {
    auto state = state_->lock();
    return SKIFF_TRY(find(*state, "state", process))->state;
  }
  std::function<void()> when_exited(const Process& process, ExitFn done) override {
    auto state = state_->lock();
    auto task = find(*state, "when_exited", process);
    if (!task || (*task)->state.exit) {
      Result<ExitStatus> answer =
          task ? Result<ExitStatus>(*(*task)->state.exit) : std::unexpected(task.error());
      state.unlock();
      done(std::move(answer));
      return [] {};
    }
    int number = state->next_waiter++;
    (*task)->waiters.emplace(number, std::move(done));
    return [shared = state_, process, number] {
      auto state = shared->lock();
      auto shim = state->shims.find(process.id);
      if (shim == state->shims.end()) return;
      auto task = shim->second.find(process.exec_id);
      if (task != shim->second.end()) task->second.waiters.erase(number);
    };
  }
  Result<ExitStatus> remove(const Context&, const Process& process) override {
    auto state = state_->lock();
    auto& task = *SKIFF_TRY(find(*state, "remove", process));
    if (task.state.status == TaskStatus::kRunning || task.state.status == TaskStatus::kPaused)
      return fail(Code::kFailedPrecondition, "{} is running", process.id);
    ExitStatus exit = task.state.exit.value_or(ExitStatus{});
    state->shims[process.id].erase(process.exec_id);
    return exit;
  }
  Status shutdown(const Context&) override {
    auto state = state_->lock();
    auto& tasks = *SKIFF_TRY(tasks_of(*state, "shutdown"));
    if (!tasks.empty()) return fail(Code::kFailedPrecondition, "containers are left in this shim");
    state->shims.erase(id_);
    return ok();
  }

 private:
  using Tasks = std::map<std::string, FakeShims::Task>;

  Result<Tasks*> tasks_of(FakeShims::State& state, const std::string& method) {
    SKIFF_TRY(owner_.enter(state, method));
    auto shim = state.shims.find(id_);
    if (shim == state.shims.end()) return fail(Code::kUnavailable, "the connection is closed");
    return &shim->second;
  }
  Result<FakeShims::Task*> find(FakeShims::State& state, const std::string& method,
                                const Process& process) {
    Tasks* tasks = SKIFF_TRY(tasks_of(state, method));
    auto task = tasks->find(process.exec_id);
    if (task == tasks->end()) return fail(Code::kNotFound, "no process {}", process.id);
    return &task->second;
  }
  uint32_t begin(FakeShims::State& state, Tasks& tasks, const std::string& exec_id,
                 TaskStatus status) {
    uint32_t pid = state.next_pid++;
    tasks[exec_id].state = {status, pid, {}};
    return pid;
  }

  FakeShims& owner_;
  std::shared_ptr<Guarded<FakeShims::State>> state_;
  std::string id_;
};

void FakeShims::end(const Process& process, ExitStatus exit) {
  std::map<int, Shim::ExitFn> waiters;
  {
    auto state = shared_->lock();
    Task& task = state->shims[process.id][process.exec_id];
    task.state.status = TaskStatus::kStopped;
    task.state.exit = exit;
    waiters.swap(task.waiters);
  }
  for (auto& [number, done] : waiters) done(exit);
}

void FakeShims::kill_shim(const std::string& id) {
  std::map<std::string, Task> tasks;
  {
    auto state = shared_->lock();
    tasks.swap(state->shims[id]);
    state->shims.erase(id);
  }
  for (auto& [exec_id, task] : tasks)
    for (auto& [number, done] : task.waiters)
      done(fail(Code::kUnavailable, "the peer closed the connection"));
}

void FakeShims::disconnect(const std::string& id) {
  std::vector<Shim::ExitFn> waiters;
  {
    auto state = shared_->lock();
    for (auto& [exec_id, task] : state->shims[id]) {
      for (auto& [number, done] : task.waiters) waiters.push_back(std::move(done));
      task.waiters.clear();
    }
  }
  for (auto& done : waiters) done(fail(Code::kUnavailable, "the peer closed the connection"));
}

void FakeShims::fail_next(const std::string& method, Error error) {
  shared_->lock()->faults.insert_or_assign(method, std::move(error));
}

int FakeShims::calls(const std::string& method) { return shared_->lock()->calls[method]; }

Result<std::unique_ptr<Shim>> FakeShims::launch(const Context& context, const std::string& id) {
  SKIFF_TRY(check_id(id));
  {
    auto state = shared_->lock();
    SKIFF_TRY(enter(*state, "launch"));
    if (!state->shims.try_emplace(id).second)
      return fail(Code::kAlreadyExists, "container {} has a running shim", id);
  }
  SKIFF_TRY(bundle(context, id).make());
  return std::make_unique<FakeShim>(*this, shared_, id);
}

Result<std::unique_ptr<Shim>> FakeShims::adopt(const Context&, const std::string& id) {
  auto state = shared_->lock();
  SKIFF_TRY(enter(*state, "adopt"));
  if (!state->shims.contains(id)) return fail(Code::kNotFound, "no shim of {}", id);
  return std::make_unique<FakeShim>(*this, shared_, id);
}

Status FakeShims::clean(const Context& context, const std::string& id) {
  {
    auto state = shared_->lock();
    SKIFF_TRY(enter(*state, "clean"));
  }
  kill_shim(id);
  return bundle(context, id).remove();
}

Result<std::vector<std::string>> FakeShims::list(const Context& context) {
  auto names = sys::list_dir(state_ / "bundles" / context.name_space());
  return names ? names : Result<std::vector<std::string>>(std::vector<std::string>{});
}

Result<std::vector<std::string>> FakeShims::list_namespaces() {
  auto names = sys::list_dir(state_ / "bundles");
  return names ? names : Result<std::vector<std::string>>(std::vector<std::string>{});
}

Bundle FakeShims::bundle(const Context& context, const std::string& id) const {
  return {state_ / "bundles" / context.name_space() / id, id};
}

Result<RuntimeInfo> FakeShims::runtime(const Context&, const std::string& name) {
  return RuntimeInfo{name.empty() ? "fake" : name, "/usr/bin/fake", "a fake", true};
}

}  // namespace skiff::runtime
