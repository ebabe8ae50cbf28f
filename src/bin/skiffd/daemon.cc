#include "bin/skiffd/daemon.h"

#include <chrono>
#include <future>

#include <grp.h>
#include <unistd.h>

#include "base/log.h"
#include "base/metrics/metrics.h"
#include "base/version.h"
#include "bin/skiffd/gc_scheduler.h"
#include "bin/skiffd/instance_lock.h"
#include "bin/skiffd/metrics_server.h"
#include "bin/skiffd/process_setup.h"
#include "bin/skiffd/sd_notify.h"
#include "bin/skiffd/stop_signal.h"
#include "bin/skiffd/wiring.h"
#include "metadata/gc.h"
#include "metadata/store.h"
#include "serve/native/native.h"
#include "sys/event_loop.h"
#include "sys/socket.h"
#include "ttrpc/server.h"

namespace skiff::daemon {
namespace {

// What requests that are under way get to end by themselves before they are cancelled.
constexpr auto kGrace = std::chrono::milliseconds(200);
constexpr unsigned kStopSeconds = 20;

class Daemon {
 public:
  Daemon(const Settings& settings, StopSignal& stop) : settings_(settings), stop_(stop) {}
  ~Daemon() { end(); }

  Status start();

 private:
  Status lock_folders();
  Status listen();
  void tidy(GcScheduler::Work work, std::stop_token stop);
  void end();

  const Settings& settings_;
  StopSignal& stop_;
  sys::UniqueFd root_lock_, state_lock_;
  std::unique_ptr<Parts> parts_;
  std::unique_ptr<GcScheduler> gc_;
  std::unique_ptr<native::Face> face_;
  std::unique_ptr<ttrpc::Server> server_;
  bool listening_ = false;  // the socket's file is ours
  std::unique_ptr<MetricsServer> metrics_;
};

Status Daemon::lock_folders() {
  // Others may pass through (users' namespaces do), nobody may look.
  SKIFF_TRY(sys::make_dirs(settings_.root, 0711));
  SKIFF_TRY(sys::make_dirs(settings_.state, 0711));
  root_lock_ = SKIFF_TRY(lock_folder(settings_.root));
  state_lock_ = SKIFF_TRY(lock_folder(settings_.state));
  return ok();
}

Status Daemon::start() {
  SKIFF_TRY(lock_folders());
  parts_ = SKIFF_TRY(wire(settings_, [this](const Error& error) {
    stop_.critical_part_ended("the metadata store", error);
  }));
  SKIFF_TRY(recover(*parts_));
  gc_ = std::make_unique<GcScheduler>(
      GcScheduler::Times{settings_.gc.startup_delay, settings_.gc.delay, settings_.gc.interval},
      [this](GcScheduler::Work work, std::stop_token stop) { tidy(work, std::move(stop)); });
  parts_->files_left.set([gc = gc_.get()] { gc->left_files(); });
  SKIFF_TRY(listen());
  if (!settings_.metrics.address.empty()) {
    metrics_ = SKIFF_TRY(MetricsServer::start(settings_.metrics.address));
    log::info("metrics", {{"address", metrics_->address()}});
  }
  return ok();
}

void Daemon::tidy(GcScheduler::Work work, std::stop_token stop) {
  Context context = Context().with_stop(std::move(stop));
  Status done = ok();
  if (work == GcScheduler::Work::kSweep) {
    done = sweep(context, *parts_);
  } else if (auto stats = collect(context, *parts_); !stats) {
    done = std::unexpected(std::move(stats).error());
  }
  if (!done && !done.error().is(Code::kCanceled))
    log::warning("garbage not wholly collected", {{"error", done.error()}});
  if (work == GcScheduler::Work::kCollect) release_memory();
}

Status Daemon::listen() {
  const std::string address = settings_.native_address();
  server_ = std::make_unique<ttrpc::Server>(
      SKIFF_TRY(sys::shared_event_loop()),
      ttrpc::Server::Options{.workers = {.name = "skiff-native", .stack_size = 512 << 10}});
  face_ =
      native::add_services(*server_, native_parts(*parts_, settings_, [this] { gc_->removed(); }));
  sys::UniqueFd socket = SKIFF_TRY(sys::listen_unix(address, settings_.native.mode.bits));
  if (!settings_.native.group.empty()) {
    const group* group = getgrnam(settings_.native.group.c_str());
    if (group == nullptr || chown(address.c_str(), static_cast<uid_t>(-1), group->gr_gid) != 0)
      return fail_errno(errno, "give {} to group {}", address, settings_.native.group);
  }
  SKIFF_TRY(server_->serve(std::move(socket)));
  listening_ = true;
  log::info("listening", {{"address", address}});
  return ok();
}

// Nothing new comes in, then what is under way ends, then what it stood on. Containers go on.
void Daemon::end() {
  bound_stop(kStopSeconds);
  sd_notify("STOPPING=1");
  metrics_.reset();
  if (server_) {
    if (listening_) (void)sys::remove_file(settings_.native_address());
    server_->shutdown(Context().with_timeout(kGrace));
  }
  server_.reset();
  face_.reset();
  if (parts_) parts_->files_left.set(nullptr);
  gc_.reset();
  if (parts_) {
    // What rode so far shall not be in doubt after a reboot.
    if (auto flushed = parts_->store->flush(Context().with_timeout(std::chrono::seconds(5)));
        !flushed)
      log::error("metadata not flushed", {{"error", flushed.error()}});
  }
  parts_.reset();
  // Not before the engine has cleared away the last container that ended.
  if (state_lock_) remove_empty_cgroups(settings_);
}

}  // namespace

Status run(const Settings& settings) {
  log::configure(
      {.level = SKIFF_TRY(log::parse_level(settings.log.level)),
       .format = settings.log.format == "json" ? log::Format::kJson : log::Format::kLogfmt});
  auto begin = std::chrono::steady_clock::now();
  set_up_process(settings);
  StopSignal stop = SKIFF_TRY(StopSignal::install());
  Status reason = ok();
  {
    Daemon daemon(settings, stop);
    SKIFF_TRY(daemon.start());
    auto took = std::chrono::steady_clock::now() - begin;
    log::info("skiffd is ready",
              {{"version", kVersion},
               {"root", settings.root},
               {"pid", getpid()},
               {"start_ms", std::chrono::duration_cast<std::chrono::milliseconds>(took).count()}});
    release_memory();
    sd_notify("READY=1");
    reason = stop.wait();
    if (!reason) log::error("stopping", {{"error", reason.error()}});
  }
  log::info("stopped");
  return reason;
}

}  // namespace skiff::daemon
