#include <thread>

#include <fcntl.h>
#include <unistd.h>

#include "bin/skiff/commands.h"
#include "bin/skiff/daemon.h"
#include "bin/skiff/forwarder.h"
#include "bin/skiff/output.h"
#include "bin/skiff/progress_view.h"
#include "bin/skiff/run_spec.h"
#include "bin/skiff/terminal.h"
#include "bin/skiff/text.h"
#include "bin/skiff/transfer.h"
#include "sys/file.h"

namespace skiff::cli {
namespace {

using namespace native;

// How long a daemon may take to come back while a container runs, and how often it is looked for.
constexpr auto kReturnTime = std::chrono::seconds(60);
constexpr auto kRetry = std::chrono::milliseconds(200);
constexpr auto kControlTimeout = std::chrono::seconds(10);

Result<std::vector<sys::UniqueFd>> stdio(bool interactive) {
  std::vector<sys::UniqueFd> fds;
  for (int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    bool closed = fcntl(fd, F_GETFD) < 0;
    if (closed || (fd == STDIN_FILENO && !interactive)) {
      fds.push_back(SKIFF_TRY(sys::open_file("/dev/null", O_RDWR)));
      continue;
    }
    sys::UniqueFd copy(fcntl(fd, F_DUPFD_CLOEXEC, 3));
    if (!copy) return fail_errno(errno, "duplicate descriptor {}", fd);
    fds.push_back(std::move(copy));
  }
  return fds;
}

// The descriptor whose size the container's terminal takes.
int screen_fd() { return is_terminal(STDOUT_FILENO) ? STDOUT_FILENO : STDIN_FILENO; }

TerminalSize terminal_size() {
  ScreenSize size = screen_size(screen_fd());
  return {static_cast<uint32_t>(size.rows), static_cast<uint32_t>(size.columns)};
}

// One run in the foreground, from the request to the exit.
class ForegroundRun {
 public:
  ForegroundRun(const Global& global, const RunOptions& options, SignalForwarder& signals)
      : global_(global), options_(options), signals_(signals) {}

  Result<Exited> run(const Daemon& daemon, const ContainerSpec& spec) {
    // The keyboard belongs to the container from here until its end.
    std::unique_ptr<RawMode> raw;
    if (options_.tty && options_.interactive) raw = SKIFF_TRY(RawMode::enter(STDIN_FILENO));
    RunRequest request{spec, {}};
    if (options_.tty) request.size = terminal_size();
    std::optional<Exited> exited;
    bool started = false;
    Status ended = daemon.with_stop(signals_.stop_token())
                       .stream<RunEvent>(
                           kContainersService, "Run", request,
                           [&](RunEvent event) {
                             if (event.started && !event.exited) {
                               started = true;
                               signals_.started(target(daemon, event.started->id));
                             }
                             if (event.exited) exited = std::move(event.exited);
                           },
                           SKIFF_TRY(stdio(options_.interactive)));
    if (!exited && started && !ended && ended.error().is(Code::kUnavailable)) {
      auto later = wait_again(spec.id);
      if (later) exited = *std::move(later);
    }
    signals_.ended();
    if (exited) return *std::move(exited);
    if (!ended) return std::unexpected(ended.error());
    return fail(Code::kInternal, "skiffd ended the run without an exit status");
  }

 private:
  SignalForwarder::Target target(const Daemon& daemon, const std::string& id) const {
    SignalForwarder::Target out;
    // What comes too late, or for a container that has just ended, has nobody to reach.
    out.kill = [daemon, id](int signal) {
      Context soon = daemon.context().with_timeout(kControlTimeout);
      static_cast<void>(daemon.client().call<Empty>(soon, kContainersService, "Kill",
                                                    KillRequest{id, signal, false}));
    };
    if (options_.tty)
      out.resize = [daemon, id] {
        Context soon = daemon.context().with_timeout(kControlTimeout);
        static_cast<void>(daemon.client().call<Empty>(soon, kContainersService, "Resize",
                                                      ResizeRequest{id, terminal_size()}));
      };
    return out;
  }

  // The container goes on while the daemon is restarted; so does this wait.
  Result<Exited> wait_again(const std::string& id) {
    auto until = std::chrono::steady_clock::now() + kReturnTime;
    for (;;) {
      auto daemon = Daemon::connect(global_);
      if (daemon) {
        signals_.started(target(*daemon, id));
        auto exited = daemon->call<Exited>(kContainersService, "Wait", WaitRequest{id});
        signals_.ended();
        if (exited || !exited.error().is(Code::kUnavailable)) return exited;
      }
      if (std::chrono::steady_clock::now() > until)
        return fail(Code::kUnavailable, "skiffd went away and did not come back");
      std::this_thread::sleep_for(kRetry);
    }
  }

  const Global& global_;
  const RunOptions& options_;
  SignalForwarder& signals_;
};

Status pull_for_run(const Daemon& daemon, const RunOptions& options, const std::string& platform) {
  PullRequest request;
  request.reference = options.image;
  request.platform = platform;
  request.snapshotter = options.snapshotter;
  request.access = SKIFF_TRY(access_for(daemon.context(), options.registry, {options.image}));
  // stdout is the container's.
  ProgressView view(ProgressView::style_for(STDERR_FILENO, options.quiet), STDERR_FILENO);
  size_t item = view.add("pull " + familiar(options.image));
  SKIFF_TRY(pull_image(daemon, request, view, item));
  return ok();
}

bool image_is_here(const Daemon& daemon, const RunOptions& options) {
  auto found = daemon.call<InspectImageResponse>(
      kImagesService, "Inspect", InspectImageRequest{options.image, options.platform});
  return found || !found.error().is(Code::kNotFound);
}

Result<Exited> run_container(const Global& global, const RunOptions& options,
                             SignalForwarder& signals) {
  ContainerSpec spec = SKIFF_TRY(container_spec(options));
  if (options.tty && options.interactive && !is_terminal(STDIN_FILENO))
    return fail(Code::kInvalidArgument,
                "--tty with --interactive needs a terminal as stdin; leave out --tty for a pipe");
  Daemon daemon = SKIFF_TRY(Daemon::connect(global));
  Daemon stoppable = daemon.with_stop(signals.stop_token());
  // A platform may differ from what is here under this name, so it is looked at first.
  bool pull_first =
      options.pull == "always" || (options.pull == "missing" && !options.platform.empty() &&
                                   !image_is_here(stoppable, options));
  if (pull_first) SKIFF_TRY(pull_for_run(stoppable, options, options.platform));
  ForegroundRun foreground(global, options, signals);
  auto exited = foreground.run(daemon, spec);
  bool missing = !exited && exited.error().is(Code::kNotFound) && options.pull == "missing" &&
                 !pull_first && !image_is_here(stoppable, options);
  if (!missing) return exited;
  SKIFF_TRY(pull_for_run(stoppable, options, options.platform));
  return foreground.run(daemon, spec);
}

}  // namespace

Result<int> run(const Global& global, const RunOptions& options) {
  SignalForwarder signals;
  auto exited = run_container(global, options, signals);
  if (!exited && signals.stopped_by() != 0) return 128 + signals.stopped_by();
  if (!exited) return std::unexpected(exited.error().wrap("run " + options.image));
  if (!exited->error.empty()) complain("run " + options.image + ": " + exited->error);
  return exited->code;
}

}  // namespace skiff::cli
