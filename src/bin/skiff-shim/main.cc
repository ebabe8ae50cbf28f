// skiff-shim, also installed as containerd-shim-skiff-v2: stays with a container, whatever happens
// to the daemon, and knows its exit. See bootstrap.h for how it comes to be started.
#include <csignal>
#include <cstdio>

#include <fcntl.h>
#include <malloc.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

#include "base/log.h"
#include "base/version.h"
#include "bin/skiff-shim/arguments.h"
#include "bin/skiff-shim/bootstrap.h"
#include "bin/skiff-shim/service.h"

namespace skiff::shim {
namespace {

// One shim runs beside every container: what counts is what it keeps, not how fast it allocates.
void keep_memory_small() {
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_TRIM_THRESHOLD, 32 << 10);
  mallopt(M_TOP_PAD, 16 << 10);
  mallopt(M_MMAP_THRESHOLD, 64 << 10);
}

// SIGCHLD as a descriptor. The signals that would end the shim stay blocked: it lives as long as
// its containers do, and whoever wants it gone asks it to shut down.
Result<sys::UniqueFd> take_signals() {
  sigset_t blocked, children;
  sigemptyset(&blocked);
  for (int number : {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGPIPE}) sigaddset(&blocked, number);
  ::sigprocmask(SIG_BLOCK, &blocked, nullptr);
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  sys::UniqueFd fd(::signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) return fail_errno(errno, "make a signalfd");
  return fd;
}

// Ends the loop once the last events have gone out, or a second has passed.
void leave(const std::shared_ptr<Shared>& shared, int rounds = 50) {
  if (rounds == 0 || shared->publisher->idle()) return shared->loop->stop();
  auto timer = shared->loop->after(std::chrono::milliseconds(20),
                                   [shared, rounds] { leave(shared, rounds - 1); });
  if (!timer) shared->loop->stop();
}

Status serve(const Arguments& arguments) {
  auto shared = std::make_shared<Shared>();
  sys::UniqueFd signals = SKIFF_TRY(take_signals());
  shared->loop = SKIFF_TRY(sys::EventLoop::create());
  shared->cgroups = SKIFF_TRY(sys::CgroupHost::detect());
  const char* events = std::getenv("TTRPC_ADDRESS");
  shared->publisher =
      std::make_shared<Publisher>(shared->loop, events ? events : "", arguments.name_space);
  SKIFF_TRY(sys::become_subreaper());
  if (!arguments.cgroup.empty())
    if (Status moved = sys::enter_cgroup(shared->cgroups, arguments.cgroup); !moved)
      log::warning("not in a cgroup of its own", {{"error", moved.error()}});
  SKIFF_TRY(shared->loop->add(signals.get(), EPOLLIN, [&](uint32_t) {
    signalfd_siginfo info[8];
    [[maybe_unused]] auto got = ::read(signals.get(), info, sizeof info);
    shared->reaper.reap();
  }));

  ::fcntl(kListenerFd, F_SETFD, FD_CLOEXEC);
  ::fcntl(kListenerFd, F_SETFL, O_NONBLOCK);
  ShimService* service_of = nullptr;
  ttrpc::Server* clients = nullptr;
  std::function<void()> leave_if_idle = [&] {
    if (arguments.leave_when_idle && service_of->empty() && clients->connections() == 0)
      leave(shared);
  };
  ShimService service(
      shared, [shared] { shared->loop->post([shared] { leave(shared); }); },
      [&] { shared->loop->post(leave_if_idle); });
  service_of = &service;
  ttrpc::Server::Options options{.workers = {.name = "skiff-call", .max_threads = 32}};
  options.on_idle = leave_if_idle;
  {
    ttrpc::Server server(shared->loop, std::move(options));
    clients = &server;
    server.add(service.task_service(shim_api::kTaskV2));
    server.add(service.task_service(shim_api::kTaskV3));
    server.add(service.private_service());
    SKIFF_TRY(server.serve(sys::UniqueFd(kListenerFd)));
    shared->loop->run();
    server.shutdown(Context().with_timeout(std::chrono::seconds(1)));
  }
  return ok();
}

Status run(const Arguments& arguments) {
  if (arguments.info) return run_info();
  if (arguments.action == "start") return run_start(arguments);
  if (arguments.action == "delete") return run_delete(arguments);
  if (arguments.action == "serve") return serve(arguments);
  return fail(Code::kInvalidArgument, "say what to do: start, delete or serve");
}

int main(int argc, char** argv) {
  keep_memory_small();
  auto arguments = parse_arguments(argc, argv);
  if (arguments && arguments->version) {
    std::printf("%s:\n  Version: %s\n", argv[0], kVersion);
    return 0;
  }
  if (arguments && arguments->debug) log::configure({.level = log::Level::kDebug});
  Status status = arguments ? run(*arguments) : Status(std::unexpected(arguments.error()));
  if (status) return 0;
  std::fprintf(stderr, "skiff-shim: %s\n", status.error().message().c_str());
  return 1;
}

}  // namespace
}  // namespace skiff::shim

int main(int argc, char** argv) { return skiff::shim::main(argc, argv); }
