// How a run ends, who is told, and what is cleared away.
#include <algorithm>
#include <condition_variable>
#include <csignal>

#include "base/log.h"
#include "engine/local_engine.h"
#include "metadata/store.h"
#include "runtime/shim_manager.h"
#include "sys/mount.h"

namespace skiff::engine {
namespace {

using metadata::Durability;

const CrashPoint kExit{"engine.container.exit"};
const CrashPoint kRemoving{"engine.container.removing"};
const CrashPoint kRemove{"engine.container.remove"};

constexpr auto kRememberExit = std::chrono::minutes(1);

}  // namespace

ExitStatus exit_status(const runtime::ExitStatus& exit) {
  return {.code = static_cast<int>(exit.code),
          .oom_killed = exit.oom_killed(),
          .time = exit.time.time_since_epoch().count()};
}

Result<ContainerPtr> LocalEngine::find(const Context& context, const std::string& reference) {
  ContainerPtr container = SKIFF_TRY(registry_.find(context.name_space(), reference));
  Phase phase = container->state.lock()->record.phase;
  if (phase == Phase::kCreating || phase == Phase::kRemoving)
    return fail(Code::kNotFound, "no container \"{}\"", reference);
  return container;
}

// --- the exit ----------------------------------------------------------------------------------
void LocalEngine::watch(const ContainerPtr& container, const std::shared_ptr<runtime::Shim>& shim,
                        uint64_t run) {
  // Weak, since the container holds the shim, which holds this.
  auto told = [gate = gate_, weak = std::weak_ptr(container), run](auto exit) {
    auto engine = gate->lock();
    ContainerPtr container = weak.lock();
    LocalEngine* self = *engine;
    if (self == nullptr || !container) return;
    Status submitted = self->workers_.submit(
        [self, container, run, exit = std::move(exit)] { self->settle(container, run, exit); });
    if (!submitted)
      log::error("exit not handled; the next start of the daemon will",
                 {{"id", container->id}, {"error", submitted.error()}});
  };
  shim->when_exited({.id = container->id}, std::move(told));
}

void LocalEngine::settle(const ContainerPtr& container, uint64_t run,
                         Result<runtime::ExitStatus> exit) {
  auto held = locks_.lock(container->key());
  {
    auto state = container->state.lock();
    if (state->run != run || state->record.phase != Phase::kRunning) return;
  }
  if (exit) return finish(container, exit_status(*exit));
  // Only the connection is lost for certain; the shim may be alive.
  Context context = container->context().with_timeout(std::chrono::seconds(5));
  if (auto shim = parts_.shims.adopt(context, container->id)) {
    std::shared_ptr<runtime::Shim> found = *std::move(shim);
    container->state.lock()->shim = found;
    return watch(container, found, run);
  }
  finish(container, {.code = 255,
                     .time = metadata::now(),
                     .error = "its shim has died: " + exit.error().message()});
}

void LocalEngine::finish(const ContainerPtr& container, ExitStatus exit) {
  bool auto_remove = false;
  {
    auto state = container->state.lock();
    state->record.exit = exit;
    auto_remove = state->record.spec.auto_remove;
    // One that is to be removed goes on to kRemoving, which whoever waits is told after.
    if (!auto_remove) state->record.phase = Phase::kExited;
  }
  log::info("container exited", {{"id", container->id},
                                 {"code", exit.code},
                                 {"oom", exit.oom_killed},
                                 {"error", exit.error}});
  Status done = ok();
  if (auto_remove) {
    // Told before all is cleared away: its name is free, it is in no list, and the rest takes the
    // OCI runtime a while that nobody need wait for.
    done = begin_removal(container);
    tell(container, exit);
    if (Status gone = discard(container); done) done = std::move(gone);
  } else {
    // The exit is stored before the shim, which knows it too, goes.
    done = update_row(container->record(), kExit, Durability::kRides);
    tell(container, exit);
    if (Status cleared = clear_run(container); done) done = std::move(cleared);
  }
  if (!done)
    log::warning("container not wholly cleared away; the next start of the daemon tries again",
                 {{"id", container->id}, {"error", done.error()}});
}

void LocalEngine::tell(const ContainerPtr& container, const Result<ExitStatus>& exit) {
  auto waiters = std::exchange(container->state.lock()->waiters, {});
  for (auto& [number, done] : waiters) done(exit);
}

void LocalEngine::remember(const ContainerPtr& container, const ExitStatus& exit) {
  auto ended = ended_.lock();
  auto now = Clock::now();
  std::erase_if(*ended, [&](const auto& entry) { return entry.second.forget < now; });
  (*ended)[container->key()] = {exit, now + kRememberExit};
}

std::optional<ExitStatus> LocalEngine::remembered(const Context& context, const std::string& id) {
  auto ended = ended_.lock();
  auto found = ended->find(context.name_space() + "/" + id);
  return found == ended->end() ? std::nullopt : std::optional(found->second.exit);
}

std::function<void()> LocalEngine::when_exited(const Context& context, const std::string& id,
                                               ExitFn done) {
  auto tell_remembered = [&](const Error& error) {
    auto exit = remembered(context, id);
    done(exit ? Result<ExitStatus>(*exit) : std::unexpected(error));
    return [] {};
  };
  auto container = find(context, id);
  if (!container) return tell_remembered(container.error());
  auto state = (*container)->state.lock();
  Phase phase = state->record.phase;
  if (phase == Phase::kExited || phase == Phase::kRemoving) {
    auto exit = state->record.exit;
    state.unlock();
    if (phase == Phase::kRemoving)  // since it was found
      return tell_remembered(Error(Code::kNotFound, fmt::format("no container \"{}\"", id)));
    done(*exit);
    return [] {};
  }
  uint64_t number = state->next_waiter++;
  state->waiters.emplace(number, std::move(done));
  return [container = *container, number] { container->state.lock()->waiters.erase(number); };
}

Result<ExitStatus> LocalEngine::wait(const Context& context, const std::string& id) {
  struct Answer {
    Guarded<std::optional<Result<ExitStatus>>> exit;
    std::condition_variable_any told;
  };
  auto answer = std::make_shared<Answer>();
  auto cancel = when_exited(context, id, [answer](Result<ExitStatus> exit) {
    *answer->exit.lock() = std::move(exit);
    answer->told.notify_all();
  });
  auto exit = answer->exit.lock();
  auto told = [&] { return exit->has_value(); };
  bool in_time = context.deadline() ? exit.wait_until(answer->told, context.stop_token(),
                                                      *context.deadline(), told)
                                    : exit.wait(answer->told, context.stop_token(), told);
  if (in_time) return **exit;
  exit.unlock();
  cancel();
  SKIFF_TRY(context.check());
  return fail(Code::kDeadlineExceeded, "container {} still runs", id);
}

// --- while it runs -----------------------------------------------------------------------------
Result<LocalEngine::Running> LocalEngine::running(const Context& context, const std::string& id) {
  ContainerPtr container = SKIFF_TRY(find(context, id));
  auto look = [&] {
    auto state = container->state.lock();
    return std::pair(state->record.phase, state->shim);
  };
  auto [phase, shim] = look();
  if (phase == Phase::kRunning && !shim) {
    // It is being taken up again: whoever does that holds the operation lock.
    auto held = locks_.lock(container->key());
    std::tie(phase, shim) = look();
  }
  if (phase != Phase::kRunning)
    return fail(Code::kFailedPrecondition, "container {} is not running", id);
  if (!shim) return fail(Code::kUnavailable, "the shim of container {} does not answer", id);
  return Running{{.id = container->id}, std::move(shim)};
}

Status LocalEngine::kill(const Context& context, const std::string& id, int signal, bool all) {
  auto [process, shim] = SKIFF_TRY(running(context, id));
  auto sent = shim->kill(context, process, signal, all);
  if (!sent && sent.error().is(Code::kNotFound))
    return fail(Code::kFailedPrecondition, "container {} is not running", id);
  return sent;
}

Status LocalEngine::resize(const Context& context, const std::string& id, TerminalSize size) {
  auto [process, shim] = SKIFF_TRY(running(context, id));
  return shim->resize(context, process, size.rows, size.columns);
}

Status LocalEngine::close_stdin(const Context& context, const std::string& id) {
  auto [process, shim] = SKIFF_TRY(running(context, id));
  return shim->close_stdin(context, process);
}

Result<ContainerInfo> LocalEngine::get(const Context& context, const std::string& id) {
  ContainerPtr container = SKIFF_TRY(find(context, id));
  return to_info(container->record());
}

Result<std::vector<ContainerInfo>> LocalEngine::list(const Context& context, bool all) {
  std::vector<ContainerInfo> found;
  for (const ContainerPtr& container : registry_.list(context.name_space())) {
    auto info = to_info(container->record());
    bool shown = info.phase == Phase::kRunning ||
                 (all && info.phase != Phase::kCreating && info.phase != Phase::kRemoving);
    if (!shown) continue;
    found.push_back(std::move(info));
  }
  std::ranges::sort(found, std::greater(), &ContainerInfo::created);
  return found;
}

// --- the end -----------------------------------------------------------------------------------
Status LocalEngine::clear_run(const ContainerPtr& container) {
  // Not the request's context: this must be done though its caller has gone.
  Context context = container->context().with_timeout(kCleanUpTime);
  auto shim = std::exchange(container->state.lock()->shim, nullptr);
  if (shim) {
    // A shim that no longer answers is cleared away with the rest.
    (void)shim->remove(context, {.id = container->id});
    (void)shim->shutdown(context);
    shim.reset();
  }
  Status unmounted = sys::unmount_all(parts_.shims.bundle(context, container->id).rootfs());
  Status cleaned = parts_.shims.clean(context, container->id);
  return unmounted ? cleaned : unmounted;
}

// The row, then the name, then what others see: whoever finds it gone finds its name free.
Status LocalEngine::begin_removal(const ContainerPtr& container) {
  Record record = container->record();
  if (record.phase == Phase::kRemoving) return ok();
  record.phase = Phase::kRemoving;
  record.spec.name.clear();
  Status stored = update_row(record, kRemoving, Durability::kRides);
  registry_.free_name(container);
  if (record.exit && record.spec.auto_remove) remember(container, *record.exit);
  container->state.lock()->record = std::move(record);
  // One that was still being made may have no row.
  return !stored && stored.error().is(Code::kNotFound) ? ok() : stored;
}

Status LocalEngine::discard(const ContainerPtr& container) {
  Context context = container->context().with_timeout(kCleanUpTime);
  auto missing_is_fine = [](Status status) {
    return !status && status.error().is(Code::kNotFound) ? ok() : status;
  };
  SKIFF_TRY(begin_removal(container));
  SKIFF_TRY(clear_run(container));
  std::string name = container->state.lock()->record.spec.snapshotter;
  if (auto driver = snapshotter(name))
    SKIFF_TRY(missing_is_fine((*driver)->remove(context, container->id)));
  SKIFF_TRY(missing_is_fine(
      parts_.store.write(context, kRemove, Durability::kRides, [&](metadata::Transaction& txn) {
        return metadata::containers::remove(txn, container->name_space, container->id);
      })));
  registry_.remove(container);
  if (parts_.files_left) parts_.files_left();
  return ok();
}

Status LocalEngine::kill_and_wait(const Context& context, const ContainerPtr& container) {
  auto killed = kill(context, container->id, SIGKILL, true);
  if (!killed && !killed.error().is(Code::kFailedPrecondition)) return killed;
  auto exit = wait(context, container->id);
  if (!exit && exit.error().is(Code::kNotFound)) return ok();  // removed meanwhile
  return exit ? ok() : Status(std::unexpected(std::move(exit).error()));
}

Status LocalEngine::remove(const Context& context, const std::string& id, bool force) {
  // One whose removal was begun and failed may be tried again.
  ContainerPtr container = SKIFF_TRY(registry_.find(context.name_space(), id));
  auto phase = [&] { return container->state.lock()->record.phase; };
  if (phase() == Phase::kRunning) {
    if (!force)
      return fail(Code::kFailedPrecondition, "container {} is running; stop it first, or use force",
                  id);
    SKIFF_TRY(kill_and_wait(context.with_timeout(kCleanUpTime), container));
  }
  auto held = locks_.lock(container->key());
  // Auto-removal may have come first.
  if (!registry_.find(container->name_space, container->id)) return ok();
  if (phase() == Phase::kRunning)
    return fail(Code::kAborted, "container {} was started again meanwhile", id);
  SKIFF_TRY(discard(container));
  tell(container, fail(Code::kNotFound, "container {} was removed", id));
  return ok();
}

}  // namespace skiff::engine
