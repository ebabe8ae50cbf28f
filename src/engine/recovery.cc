// What an earlier daemon left: containers that run on, exits nobody heard of, halves.
#include "base/log.h"
#include "engine/local_engine.h"
#include "metadata/store.h"
#include "runtime/shim_manager.h"
#include "sys/mount.h"

namespace skiff::engine {
namespace {

// How long one shim may take to answer; it keeps nobody else waiting.
constexpr auto kShimPatience = std::chrono::seconds(10);

}  // namespace

Result<std::vector<Record>> LocalEngine::stored() {
  std::vector<Record> records;
  SKIFF_TRY(parts_.store.read(Context(), [&](metadata::Reader& reader) -> Status {
    for (const std::string& ns : SKIFF_TRY(metadata::namespaces::list(reader)))
      for (const auto& row : SKIFF_TRY(metadata::containers::list(reader, ns, {}))) {
        auto record = from_row(ns, row);
        if (record) {
          records.push_back(*std::move(record));
        } else {
          log::error("container left alone: its row cannot be read", {{"error", record.error()}});
        }
      }
    return ok();
  }));
  return records;
}

void LocalEngine::in_background(const ContainerPtr& container, std::function<void()> task) {
  auto held = std::make_shared<Held>(locks_.lock(container->key()));
  Status submitted = workers_.submit([held, task = std::move(task)] { task(); });
  if (!submitted)
    log::error("container not taken up", {{"id", container->id}, {"error", submitted.error()}});
}

void LocalEngine::take_up(Record record) {
  auto container = std::make_shared<Container>(std::move(record));
  auto [phase, name, auto_remove] = [&] {
    auto state = container->state.lock();
    return std::tuple(state->record.phase, state->record.spec.name, state->record.spec.auto_remove);
  }();
  if (auto added = registry_.add(container, name); !added) {
    log::error("container left alone", {{"id", container->id}, {"error", added.error()}});
    return;
  }
  bool unwanted = phase == Phase::kCreating || phase == Phase::kRemoving ||
                  (phase == Phase::kExited && auto_remove);
  if (unwanted) {
    in_background(container, [this, container] {
      if (auto gone = discard(container); !gone)
        log::warning("container not wholly removed",
                     {{"id", container->id}, {"error", gone.error()}});
    });
  } else if (phase == Phase::kRunning) {
    in_background(container, [this, container] { adopt(container); });
  }
}

void LocalEngine::adopt(const ContainerPtr& container) {
  Context context = container->context().with_timeout(kShimPatience);
  auto shim = parts_.shims.adopt(context, container->id);
  if (!shim)
    return finish(container, {.code = 255,
                              .time = metadata::now(),
                              .error = "ended while no daemon ran, and its shim is gone"});
  std::shared_ptr<runtime::Shim> found = *std::move(shim);
  auto task = found->state(context, {.id = container->id});
  if (!task)
    return finish(container, {.code = 255,
                              .time = metadata::now(),
                              .error = "its shim does not know it: " + task.error().message()});
  uint64_t run = 0;
  {
    auto state = container->state.lock();
    state->shim = found;
    state->record.pid = static_cast<int>(task->pid);
    run = ++state->run;
  }
  if (task->exit) return finish(container, exit_status(*task->exit));
  log::info("container taken up again", {{"id", container->id}, {"pid", task->pid}});
  watch(container, found, run);
}

// Bundles of what does not run: of a run that had ended but was not cleared away yet, or without a
// container (made before their row was, or by a daemon whose rows a restored database does not
// hold).
void LocalEngine::clear_strays() {
  auto spaces = parts_.shims.list_namespaces();
  if (!spaces) {
    log::warning("bundles not looked through", {{"error", spaces.error()}});
    return;
  }
  for (const std::string& ns : *spaces) {
    auto ids = parts_.shims.list(Context().with_namespace(ns));
    for (const std::string& id : ids.value_or(std::vector<std::string>())) {
      auto known = registry_.find(ns, id);
      auto container = known && (*known)->id == id
                           ? *known
                           : std::make_shared<Container>(Record{.name_space = ns, .id = id});
      Phase phase = container->state.lock()->record.phase;
      bool being_settled = known && phase != Phase::kCreated && phase != Phase::kExited;
      if (being_settled) continue;
      in_background(container, [this, container] {
        auto cleared = clear_run(container);
        log::info("cleared away what does not run",
                  {{"id", container->id}, {"error", cleared ? "" : cleared.error().message()}});
      });
    }
  }
}

Status LocalEngine::recover(const Context&) {
  for (Record& record : SKIFF_TRY(stored())) take_up(std::move(record));
  clear_strays();
  return ok();
}

}  // namespace skiff::engine
