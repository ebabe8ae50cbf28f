#include "base/log.h"
#include "base/metrics/metrics.h"
#include "base/random_id.h"
#include "engine/container_spec.h"
#include "engine/local_engine.h"
#include "image/image_service.h"
#include "metadata/store.h"
#include "runtime/shim_manager.h"
#include "runtime/spec.h"
#include "sys/mount.h"

namespace skiff::engine {
namespace {

using metadata::Durability;

const CrashPoint kDraft{"engine.container.draft"};
const CrashPoint kCreate{"engine.container.create"};
const CrashPoint kStart{"engine.container.start"};

// The error is the command's own fault, not the engine's: it cannot be run or is not there.
std::optional<int> command_failure(const Error& error) {
  if (!error.is(Code::kFailedPrecondition)) return std::nullopt;
  int code = runtime::exit_code_of_failure(error);
  return code == 125 ? std::nullopt : std::optional(code);
}

metrics::Histogram& start_seconds() {
  static metrics::Histogram& seconds = metrics::duration_histogram(
      "skiff_engine_container_start_seconds", "From the request to the running process.");
  return seconds;
}

class Stopwatch {
 public:
  ~Stopwatch() {
    start_seconds().observe(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count());
  }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

}  // namespace

Result<std::unique_ptr<Engine>> Engine::create(Parts parts) {
  if (parts.snapshotters.empty())
    return fail(Code::kFailedPrecondition, "the engine has no snapshotter");
  return std::make_unique<LocalEngine>(std::move(parts));
}

LocalEngine::LocalEngine(Parts parts)
    : parts_(std::move(parts)), workers_({.name = "skiff-engine", .stack_size = 256 << 10}) {}

LocalEngine::~LocalEngine() {
  *gate_->lock() = nullptr;
  workers_.drain();
}

Result<snapshot::Snapshotter*> LocalEngine::snapshotter(const std::string& name) const {
  for (snapshot::Snapshotter* known : parts_.snapshotters)
    if (name.empty() || known->name() == name) return known;
  return fail(Code::kInvalidArgument, "there is no snapshotter \"{}\"", name);
}

Result<ContainerPtr> LocalEngine::draft(const Context& context, const ContainerSpec& spec) {
  SKIFF_TRY(check_spec(spec));
  auto image = SKIFF_TRY(parts_.images.inspect(context, spec.image, oci::Platform::host()));
  auto runtime = SKIFF_TRY(parts_.shims.runtime(context, spec.runtime));
  Record record{.name_space = context.name_space(),
                .id = spec.id.empty() ? random_id(32) : spec.id,
                .spec = spec,
                .image = image.summary.image.name,
                .image_digest = image.summary.image.digest,
                .chain_id = image.chain_id,
                .runtime = runtime.name,
                .runtime_program = runtime.program,
                .created = metadata::now()};
  record.spec.id = record.id;
  record.spec.snapshotter = SKIFF_TRY(snapshotter(spec.snapshotter))->name();
  SKIFF_TRY(inherit(image.config, record));
  auto container = std::make_shared<Container>(std::move(record));
  SKIFF_TRY(registry_.add(container, spec.name));
  return container;
}

Status LocalEngine::update_row(const Record& record, const CrashPoint& point,
                               Durability durability) {
  auto row = to_row(record);
  return parts_.store.write(Context().with_namespace(record.name_space), point, durability,
                            [&](metadata::Transaction& txn) {
                              return metadata::containers::update(txn, record.name_space, row);
                            });
}

// The row comes first, with the phase kCreating: it is the intent that recovery undoes, and it
// holds the snapshot against garbage collection from its first moment on. It may ride, since a
// power loss takes what it stands for along with it.
Result<std::vector<snapshot::Mount>> LocalEngine::make_root(const Context& context,
                                                            const ContainerPtr& container) {
  Record record = container->record();
  auto row = to_row(record);
  SKIFF_TRY(parts_.store.write(context, kDraft, Durability::kRides,
                               [&](metadata::Transaction& txn) -> Status {
                                 SKIFF_TRY(metadata::namespaces::ensure(txn, record.name_space));
                                 return metadata::containers::create(txn, record.name_space, row);
                               }));
  snapshot::Snapshotter* driver = SKIFF_TRY(snapshotter(record.spec.snapshotter));
  auto mounts = driver->prepare(context, record.id, record.chain_id.str(), {});
  if (!mounts && mounts.error().is(Code::kNotFound)) {
    // The layers may be unpacked for another snapshotter, or not at all yet.
    SKIFF_TRY(parts_.images.unpack(context, record.image, driver->name(), oci::Platform::host()));
    mounts = driver->prepare(context, record.id, record.chain_id.str(), {});
  }
  return SKIFF_TRY_WRAP(std::move(mounts), "make the root file system of container {}",
                        record.id.substr(0, 12));
}

Result<ContainerInfo> LocalEngine::create_container(const Context& context,
                                                    const ContainerSpec& spec) {
  ContainerPtr container = SKIFF_TRY(draft(context, spec));
  auto held = locks_.lock(container->key());
  auto made = [&]() -> Status {
    SKIFF_TRY(make_root(context, container));
    container->state.lock()->record.phase = Phase::kCreated;
    return update_row(container->record(), kCreate, Durability::kDurable);
  }();
  if (!made) {
    (void)discard(container);
    return std::unexpected(std::move(made).error());
  }
  return to_info(container->record());
}

Result<ContainerInfo> LocalEngine::run(const Context& context, const ContainerSpec& spec,
                                       Stdio stdio, TerminalSize size) {
  Stopwatch watch;
  ContainerPtr container = SKIFF_TRY(draft(context, spec));
  auto held = locks_.lock(container->key());
  auto made = [&]() -> Status {
    // The shim's process begins while its root file system is made.
    std::shared_ptr<runtime::Shim> shim = SKIFF_TRY(parts_.shims.launch(context, container->id));
    auto mounts = SKIFF_TRY(make_root(context, container));
    SKIFF_TRY(launch(context, container, std::move(shim), mounts, std::move(stdio), size));
    // What is to be removed at its end promises nothing beyond a power loss.
    return update_row(container->record(), kCreate,
                      spec.auto_remove ? Durability::kRides : Durability::kDurable);
  }();
  auto info = to_info(container->record());
  if (!made || (info.phase == Phase::kExited && spec.auto_remove)) {
    if (auto gone = discard(container); !gone)
      log::warning("container not wholly removed",
                   {{"id", container->id}, {"error", gone.error()}});
  }
  if (!made) return std::unexpected(std::move(made).error());
  return info;
}

Result<ContainerInfo> LocalEngine::start(const Context& context, const std::string& id, Stdio stdio,
                                         TerminalSize size) {
  Stopwatch watch;
  ContainerPtr container = SKIFF_TRY(find(context, id));
  auto held = locks_.lock(container->key());
  auto [phase, name] = [&] {
    auto state = container->state.lock();
    return std::pair(state->record.phase, state->record.spec.snapshotter);
  }();
  if (phase != Phase::kCreated && phase != Phase::kExited)
    return fail(Code::kFailedPrecondition, "container {} is {}", id, phase_name(phase));
  auto launched = [&]() -> Status {
    std::shared_ptr<runtime::Shim> shim = SKIFF_TRY(parts_.shims.launch(context, container->id));
    auto mounts = SKIFF_TRY(SKIFF_TRY(snapshotter(name))->mounts(context, container->id));
    return launch(context, container, std::move(shim), mounts, std::move(stdio), size);
  }();
  if (!launched) {
    (void)clear_run(container);
    return std::unexpected(std::move(launched).error());
  }
  // After a power loss it does not run anyway.
  SKIFF_TRY(update_row(container->record(), kStart, Durability::kRides));
  return to_info(container->record());
}

Result<uint32_t> LocalEngine::create_process(const Context& context, const ContainerPtr& container,
                                             runtime::Shim& shim,
                                             const std::vector<snapshot::Mount>& mounts,
                                             Stdio stdio, TerminalSize size) {
  Record record = container->record();
  auto options = SKIFF_TRY(spec_options(record, parts_.cgroup_parent));
  runtime::Bundle bundle = parts_.shims.bundle(context, record.id);
  SKIFF_TRY(sys::mount_all(mounts, bundle.rootfs()));
  options.rootfs = bundle.rootfs();
  options.rows = size.rows;
  options.columns = size.columns;
  auto spec = SKIFF_TRY(runtime::make_spec(options));
  for (const std::string& warning : spec.warnings)
    log::warning("container gets less than it asked for", {{"id", record.id}, {"reason", warning}});
  SKIFF_TRY(bundle.write_config(spec.config));
  return shim.create(context,
                     {.id = record.id,
                      .bundle = bundle.folder().string(),
                      .runtime = record.runtime_program,
                      .start = true,
                      .delete_on_exit = true},
                     {.in = std::move(stdio.in),
                      .out = std::move(stdio.out),
                      .err = std::move(stdio.err),
                      .terminal = record.spec.tty,
                      .rows = size.rows,
                      .columns = size.columns});
}

Status LocalEngine::launch(const Context& context, const ContainerPtr& container,
                           std::shared_ptr<runtime::Shim> shim,
                           const std::vector<snapshot::Mount>& mounts, Stdio stdio,
                           TerminalSize size) {
  auto pid = create_process(context, container, *shim, mounts, std::move(stdio), size);
  auto failure = pid ? std::nullopt : command_failure(pid.error());
  if (!pid && !failure) return std::unexpected(std::move(pid).error());
  if (!pid) {
    ExitStatus exit{.code = *failure, .time = metadata::now(), .error = pid.error().message()};
    {
      auto state = container->state.lock();
      state->record.started = exit.time;
      state->record.phase = Phase::kExited;
      state->record.exit = exit;
    }
    shim.reset();
    if (auto cleared = clear_run(container); !cleared)
      log::warning("run not wholly cleared", {{"id", container->id}, {"error", cleared.error()}});
    tell(container, exit);
    return ok();
  }
  uint64_t run = 0;
  {
    auto state = container->state.lock();
    state->record.started = metadata::now();
    state->record.phase = Phase::kRunning;
    state->record.pid = static_cast<int>(*pid);
    state->record.exit.reset();
    state->shim = shim;
    run = ++state->run;
  }
  watch(container, shim, run);
  return ok();
}

}  // namespace skiff::engine
