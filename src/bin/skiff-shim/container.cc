#include "bin/skiff-shim/container.h"

#include <atomic>
#include <chrono>
#include <csignal>

#include <malloc.h>
#include <sys/epoll.h>

#include "base/log.h"
#include "bin/skiff-shim/runtime_file.h"
#include "bin/skiff-shim/stats.h"
#include "codec/json/json.h"
#include "shim_api/events.h"
#include "sys/file.h"
#include "sys/mount.h"

namespace skiff::shim {
namespace {

// Output that a client does not take holds an exit back no longer than this.
constexpr auto kDrainLimit = std::chrono::seconds(5);
// The runtime's clean-up after an exit belongs to no request.
constexpr auto kCleanupLimit = std::chrono::seconds(60);

// The memory controller's line of /proc/<pid>/cgroup ("4:memory:/skiff/abc"; v2: "0::/skiff/abc").
std::string cgroup_of(int pid, sys::CgroupMode mode) {
  auto text = sys::read_file(fmt::format("/proc/{}/cgroup", pid));
  if (!text) return {};
  std::string_view rest = *text;
  while (!rest.empty()) {
    size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    std::string_view controllers = line.substr(first + 1, second - first - 1);
    bool wanted = mode == sys::CgroupMode::kV2 ? controllers.empty() : controllers == "memory";
    if (wanted) return std::string(line.substr(second + 1));
  }
  return {};
}

}  // namespace

Container::Container(std::shared_ptr<Shared> shared, Options options)
    : shared_(std::move(shared)),
      options_(std::move(options)),
      runtime_(shared_->reaper, options_.runtime, options_.bundle) {}

Container::~Container() {
  auto oom = oom_.lock();
  if (oom->token != 0) shared_->loop->remove(oom->token);
}

Result<int> Container::create(const Context& context, Process::Names names, IoRequest io,
                              bool start) {
  init_ =
      std::make_shared<Process>("", std::move(names), SKIFF_TRY(ProcessIo::open(std::move(io))));
  std::string rootfs = options_.bundle + "/rootfs";
  if (!options_.rootfs.empty()) SKIFF_TRY(sys::mount_all(options_.rootfs, rootfs));
  auto pid = run_create(context, start);
  if (pid) return pid;
  // Most failures leave nothing, but a time-out may; what it says matters less than the first
  // error.
  const std::string& root = options_.runtime.root;
  if (root.empty() || sys::path_exists(fmt::format("{}/{}", root, id())))
    static_cast<void>(runtime_.remove(context.detached().with_timeout(kCleanupLimit), id(), true));
  if (!options_.rootfs.empty()) static_cast<void>(sys::unmount_all(rootfs));
  return pid;
}

Result<int> Container::run_create(const Context& context, bool start) {
  auto config = SKIFF_TRY(json::parse(SKIFF_TRY(sys::read_file(options_.bundle + "/config.json"))));
  own_pid_namespace_ = false;
  if (const json::Value* namespaces = config.find({"linux", "namespaces"}))
    if (auto list = namespaces->as_array())
      for (const json::Value& one : **list)
        own_pid_namespace_ |= one.get_string("type", "").value_or("") == "pid" &&
                              one.get_string("path", "").value_or("").empty();
  if (const json::Value* path = config.find({"linux", "cgroupsPath"}))
    if (auto text = path->as_string(); text && text->starts_with("/")) cgroup_ = *text;

  SKIFF_TRY(
      write_runtime_file(options_.bundle, {runtime_.options().program, runtime_.options().root}));
  Reaper::Window window(shared_->reaper);
  int pid = SKIFF_TRY(runtime_.create(context, id(), init_->io().runtime_stdio(), start));
  init_->set_pid(pid);
  learn_cgroup(pid);
  if (Status started = init_->io().started(context); !started) {
    static_cast<void>(init_->signal(SIGKILL));
    return std::unexpected(std::move(started).error());
  }
  if (start) init_->state().lock()->status = TaskStatus::kRunning;
  watch_oom();
  shim_api::TaskCreate created{id(), options_.bundle, options_.rootfs, {}, {}, uint32_t(pid)};
  created.io = {init_->names().stdin_path, init_->names().stdout_path, init_->names().stderr_path,
                init_->names().terminal};
  shared_->publisher->publish(created);
  if (start) shared_->publisher->publish(shim_api::TaskStart{id(), uint32_t(pid)});
  shared_->reaper.watch(pid, [self = shared_from_this(), init = init_](const Exit& exit) {
    self->on_exit(init, exit);
  });
  malloc_trim(0);  // the parsed spec was the largest thing this process will hold
  return pid;
}

void Container::learn_cgroup(int pid) {
  std::string actual = cgroup_of(pid, shared_->cgroups.mode);
  if (!actual.empty() && actual != "/") cgroup_ = actual;
}

Result<int> Container::start(const Context& context) {
  auto step = steps_.lock("life");
  int pid;
  {
    auto state = init_->state().lock();
    if (state->status != TaskStatus::kCreated)
      return fail(Code::kFailedPrecondition, "container {} has been started before", id());
    state->starting = true;
    pid = state->pid;
  }
  Status started = runtime_.start(context, id());
  std::optional<Exit> early;
  {
    auto state = init_->state().lock();
    state->starting = false;
    early = std::exchange(state->early, std::nullopt);
    if (started) state->status = TaskStatus::kRunning;
  }
  if (started) shared_->publisher->publish(shim_api::TaskStart{id(), uint32_t(pid)});
  if (early) on_exit(init_, *early);
  if (!started) return std::unexpected(std::move(started).error());
  return pid;
}

Status Container::add_exec(const std::string& exec_id, std::string process_json,
                           Process::Names names, IoRequest io) {
  if (init_->state().lock()->status == TaskStatus::kStopped)
    return fail(Code::kFailedPrecondition, "container {} has stopped", id());
  auto process =
      std::make_shared<Process>(exec_id, std::move(names),
                                SKIFF_TRY(ProcessIo::open(std::move(io))), std::move(process_json));
  if (!execs_.lock()->by_id.emplace(exec_id, std::move(process)).second)
    return fail(Code::kAlreadyExists, "exec {} exists in container {}", exec_id, id());
  shared_->publisher->publish(shim_api::TaskExecAdded{id(), exec_id});
  return ok();
}

Result<int> Container::start_exec(const Context& context, const std::string& exec_id, bool keep) {
  auto process = SKIFF_TRY(this->process(exec_id));
  {
    auto state = process->state().lock();
    if (state->status != TaskStatus::kCreated || state->starting)
      return fail(Code::kFailedPrecondition, "exec {} has been started before", exec_id);
    state->starting = true;
  }
  Reaper::Window window(shared_->reaper);
  auto pid = runtime_.exec(context, id(), exec_id, process->spec(), process->io().runtime_stdio());
  if (pid) process->set_pid(*pid);
  Status started = pid ? process->io().started(context) : ok();
  {
    auto state = process->state().lock();
    state->starting = false;
    if (pid) state->status = TaskStatus::kRunning;
  }
  if (!pid && !keep) execs_.lock()->by_id.erase(exec_id);
  if (!pid) return pid;
  if (!started) static_cast<void>(process->signal(SIGKILL));
  shared_->publisher->publish(shim_api::TaskExecStarted{id(), exec_id, uint32_t(*pid)});
  shared_->reaper.watch(*pid, [self = shared_from_this(), process](const Exit& exit) {
    self->on_exit(process, exit);
  });
  if (!started) return std::unexpected(std::move(started).error());
  return pid;
}

void Container::on_exit(const std::shared_ptr<Process>& process, const Exit& exit) {
  {
    auto state = process->state().lock();
    if (state->starting) {
      state->early = exit;
      return;
    }
  }
  if (process == init_) {
    // Without a pid namespace of its own nothing else ends the rest of the container.
    if (!own_pid_namespace_ && !cgroup_.empty())
      static_cast<void>(sys::kill_cgroup(shared_->cgroups, cgroup_));
    count_oom();
    if (options_.delete_on_exit) begin_cleanup();
  }
  // Whichever comes first: all output passed on, or the limit.
  auto once = std::make_shared<std::atomic<bool>>(false);
  auto publish = [self = shared_from_this(), process, exit, once] {
    if (!once->exchange(true)) self->publish_exit(process, exit);
  };
  process->io().when_drained(publish);
  if (!*once) static_cast<void>(shared_->loop->after(kDrainLimit, publish));
}

void Container::publish_exit(const std::shared_ptr<Process>& process, const Exit& exit) {
  ExitResponse response;
  response.pid = static_cast<uint32_t>(process->state().lock()->pid);
  response.exit_status = static_cast<uint32_t>(exit.code);
  response.signal = static_cast<uint32_t>(exit.signal);
  response.exited_at = ttrpc::to_timestamp(exit.time);
  {
    auto oom = oom_.lock();
    response.oom_kills = oom->kills;
    response.last_oom_at = oom->last;
  }
  // The event before the answers: whoever saw an answer may look for the event.
  shared_->publisher->publish(shim_api::TaskExit{id(), process == init_ ? id() : process->exec_id(),
                                                 response.pid, response.exit_status,
                                                 response.exited_at});
  process->finish(response);
}

uint64_t Container::count_oom() {
  auto kills = cgroup_.empty() ? Result<uint64_t>(0) : sys::oom_kills(shared_->cgroups, cgroup_);
  auto oom = oom_.lock();
  if (!kills || *kills <= oom->kills) return oom->kills;
  oom->kills = *kills;
  oom->last = ttrpc::to_timestamp(std::chrono::system_clock::now());
  oom.unlock();
  shared_->publisher->publish(shim_api::TaskOom{id()});
  return *kills;
}

void Container::watch_oom() {
  if (cgroup_.empty()) return;
  auto event = sys::watch_oom(shared_->cgroups, cgroup_);
  if (!event) return;  // no memory controller, or already gone: the count at the exit remains
  auto oom = oom_.lock();
  int fd = event->get();
  oom->event = std::move(*event);
  auto token = shared_->loop->add(fd, EPOLLIN, [weak = weak_from_this()](uint32_t) {
    if (auto self = weak.lock()) self->on_oom();
  });
  if (token) oom->token = *token;
}

void Container::on_oom() {
  {
    auto oom = oom_.lock();
    char buffer[4096];
    ssize_t got = ::read(oom->event.get(), buffer, sizeof buffer);
    // The cgroup's end makes the descriptor ready, too, and then for good.
    bool gone = got <= 0 || !sys::path_exists(shared_->cgroups.folder("memory", cgroup_));
    if (gone) {
      shared_->loop->remove(std::exchange(oom->token, 0));
      oom->event.reset();
    }
  }
  count_oom();
}

Status Container::kill(const Context& context, const std::string& exec_id, int signal, bool all) {
  if (signal < 0 || signal > SIGRTMAX) return fail(Code::kInvalidArgument, "signal {}", signal);
  auto target = SKIFF_TRY(process(exec_id));
  if (all && exec_id.empty() && !cgroup_.empty()) {
    for (int pid : SKIFF_TRY(sys::cgroup_pids(shared_->cgroups, cgroup_)))
      if (::kill(pid, signal) != 0 && errno != ESRCH) return fail_errno(errno, "signal {}", pid);
  } else {
    SKIFF_TRY(target->signal(signal));
  }
  // A frozen process does not even die.
  if (signal == SIGKILL && paused()) return resume(context);
  return ok();
}

Status Container::pause(const Context& context) {
  auto step = steps_.lock("life");
  SKIFF_TRY(runtime_.pause(context, id()));
  oom_.lock()->paused = true;
  shared_->publisher->publish(shim_api::TaskPaused{id()});
  return ok();
}

Status Container::resume(const Context& context) {
  auto step = steps_.lock("life");
  SKIFF_TRY(runtime_.resume(context, id()));
  oom_.lock()->paused = false;
  shared_->publisher->publish(shim_api::TaskResumed{id()});
  return ok();
}

Status Container::update(const Context& context, const std::string& resources_json) {
  auto step = steps_.lock("life");
  return runtime_.update(context, id(), resources_json);
}

Result<std::vector<int>> Container::pids() const {
  if (cgroup_.empty()) return fail(Code::kFailedPrecondition, "container {} has no cgroup", id());
  return sys::cgroup_pids(shared_->cgroups, cgroup_);
}

Result<ttrpc::Any> Container::stats() const {
  if (cgroup_.empty()) return fail(Code::kFailedPrecondition, "container {} has no cgroup", id());
  return read_stats(shared_->cgroups, cgroup_);
}

Result<std::shared_ptr<Process>> Container::process(const std::string& exec_id) const {
  if (exec_id.empty()) return init_;
  auto execs = execs_.lock();
  auto found = execs->by_id.find(exec_id);
  if (found == execs->by_id.end())
    return fail(Code::kNotFound, "no exec {} in container {}", exec_id, id());
  return found->second;
}

Result<ExitResponse> Container::remove_exec(const std::string& exec_id) {
  auto process = SKIFF_TRY(this->process(exec_id));
  auto state = process->state().lock();
  if (state->status == TaskStatus::kRunning || state->starting)
    return fail(Code::kFailedPrecondition, "exec {} is running: kill it first", exec_id);
  ExitResponse exit = state->exit.value_or(ExitResponse{});
  state.unlock();
  execs_.lock()->by_id.erase(exec_id);
  return exit;
}

Result<ExitResponse> Container::remove(const Context& context) {
  auto step = steps_.lock("life");
  auto status = init_->state().lock()->status;
  if (status == TaskStatus::kRunning)
    return fail(Code::kFailedPrecondition, "container {} is running: kill it first", id());
  // A created one's init waits to be started; the runtime would take 100 ms to kill it.
  if (status == TaskStatus::kCreated) static_cast<void>(init_->signal(SIGKILL));
  struct Waiter {
    Guarded<std::optional<ExitResponse>> exit;
    std::condition_variable_any changed;
  };
  auto waiter = std::make_shared<Waiter>();
  init_->when_exited([waiter](const ExitResponse& exit) {
    *waiter->exit.lock() = exit;
    waiter->changed.notify_all();
  });
  auto exit = waiter->exit.lock();
  exit.wait_until(waiter->changed, context.stop_token(), Context::Clock::now() + kCleanupLimit,
                  [&] { return exit->has_value(); });
  if (!exit->has_value()) return fail(Code::kDeadlineExceeded, "container {} does not end", id());
  begin_cleanup();
  SKIFF_TRY(finish_cleanup(context));
  shared_->publisher->publish(
      shim_api::TaskDelete{id(), (*exit)->pid, (*exit)->exit_status, (*exit)->exited_at, {}});
  return **exit;
}

void Container::begin_cleanup() {
  {
    auto cleanup = cleanup_.lock();
    if (cleanup->begun && !(cleanup->done && !cleanup->result))
      return;  // a failed one may be retried
    cleanup->begun = true;
    cleanup->done = false;
  }
  auto work = [self = shared_from_this()] {
    Status result = self->clean(Context().with_timeout(kCleanupLimit));
    if (!result) log::error("clean-up failed", {{"id", self->id()}, {"error", result.error()}});
    auto cleanup = self->cleanup_.lock();
    cleanup->done = true;
    cleanup->result = std::move(result);
    self->cleaned_.notify_all();
  };
  if (Status queued = shared_->workers.submit(work); !queued) {
    auto cleanup = cleanup_.lock();
    cleanup->done = true;
    cleanup->result = std::move(queued);
  }
}

Status Container::finish_cleanup(const Context& context) {
  auto cleanup = cleanup_.lock();
  cleanup.wait(cleaned_, context.stop_token(), [&] { return cleanup->done; });
  if (!cleanup->done) return context.check();
  return cleanup->result;
}

Status Container::clean(const Context& context) {
  SKIFF_TRY(runtime_.remove(context, id(), false));
  if (!options_.rootfs.empty()) SKIFF_TRY(sys::unmount_all(options_.bundle + "/rootfs"));
  return ok();
}

}  // namespace skiff::shim
