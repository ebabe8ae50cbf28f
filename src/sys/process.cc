#include "sys/process.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <span>
#include <stop_token>

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/file.h"

extern char** environ;

namespace skiff::sys {
namespace {

constexpr size_t kChildStack = 64 * 1024;

// All that the child needs, made before it starts: it shares this memory and must not allocate.
// (ThreadSanitizer takes such a child for a fork and then misses the parent's locks: under it the
// child has a copy, and only the page of `error` is shared.)
#ifdef __SANITIZE_THREAD__
constexpr int kShareMemory = 0;
#else
constexpr int kShareMemory = CLONE_VM;
#endif

struct ChildPlan {
  const char* program;
  char* const* argv;
  char* const* envp;
  const char* cwd;
  std::pair<int, int>* fds;
  size_t fd_count;
  const SpawnOptions* options;
  int parent;
  int* error;
};

// First above every number in use, then down to its own: so no step overwrites a later source.
bool place_fds(ChildPlan& plan) {
  int top = 3;
  for (size_t i = 0; i < plan.fd_count; ++i) top = std::max(top, plan.fds[i].second + 1);
  for (size_t i = 0; i < plan.fd_count; ++i) {
    plan.fds[i].first = ::fcntl(plan.fds[i].first, F_DUPFD_CLOEXEC, top);
    if (plan.fds[i].first < 0) return false;
  }
  // Also what some library opened without thinking of children. (Fails on kernels before 5.11: then
  // only what was opened close-on-exec stays here.)
  ::close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
  for (size_t i = 0; i < plan.fd_count; ++i)
    if (::dup2(plan.fds[i].first, plan.fds[i].second) < 0) return false;
  return true;
}

int child_main(void* argument) {
  ChildPlan& plan = *static_cast<ChildPlan*>(argument);
  const SpawnOptions& options = *plan.options;
  auto give_up = [&] {
    *plan.error = errno ? errno : EIO;
    ::_exit(127);
    return 127;
  };
  for (int number = 1; number < NSIG; ++number) {
    struct sigaction action{};
    // A handler of the parent's would run in the parent's memory.
    if (::sigaction(number, nullptr, &action) == 0 && action.sa_handler != SIG_DFL) {
      action = {};
      ::sigaction(number, &action, nullptr);
    }
  }
  if (options.new_session) ::setsid();
  if (options.new_group) ::setpgid(0, 0);
  if (options.parent_death_signal != 0) {
    ::prctl(PR_SET_PDEATHSIG, options.parent_death_signal);
    if (::getppid() != plan.parent) ::_exit(127);
  }
  if (plan.cwd && ::chdir(plan.cwd) != 0) return give_up();
  if (!place_fds(plan)) return give_up();
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execve(plan.program, plan.argv, plan.envp);
  return give_up();
}

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> result;
  for (const std::string& text : strings) result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

class Stack {
 public:
  Stack()
      : base_(::mmap(nullptr, kChildStack, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS | MAP_STACK, -1, 0)) {}
  ~Stack() {
    if (base_ != MAP_FAILED) ::munmap(base_, kChildStack);
  }
  explicit operator bool() const { return base_ != MAP_FAILED; }
  // At the far end of the stack: where the child says what went wrong.
  int* error() const { return static_cast<int*>(base_); }
  void* top() const { return static_cast<char*>(base_) + kChildStack; }

 private:
  void* base_;
};

ProcessExit exit_of(const siginfo_t& info) {
  ProcessExit exit{info.si_pid, 0, 0};
  (info.si_code == CLD_EXITED ? exit.code : exit.signal) = info.si_status;
  return exit;
}

// Waits on descriptors until one is ready or the context ends, without polling for its stop.
class ContextPoll {
 public:
  explicit ContextPoll(const Context& context)
      : context_(context),
        stop_(context.stop_token().stop_possible() ? ::eventfd(0, EFD_CLOEXEC) : -1) {}
  // Descriptors below 0 are left out. Their revents are set when this returns ok.
  Status wait(std::span<pollfd> fds) {
    std::vector<pollfd> all(fds.begin(), fds.end());
    all.push_back({stop_.get(), POLLIN, 0});
    while (true) {
      SKIFF_TRY(context_.check());
      int count = ::poll(all.data(), all.size(), timeout());
      if (count < 0 && errno != EINTR) return fail_errno(errno, "wait for a process");
      if (count <= 0 || all.back().revents != 0) continue;
      for (size_t i = 0; i < fds.size(); ++i) fds[i].revents = all[i].revents;
      return ok();
    }
  }

 private:
  int timeout() const {
    auto deadline = context_.deadline();
    if (!deadline) return -1;
    auto rest = std::chrono::ceil<std::chrono::milliseconds>(*deadline - Context::Clock::now());
    return static_cast<int>(std::clamp<int64_t>(rest.count(), 0, 1 << 30));
  }

  const Context& context_;
  UniqueFd stop_;
  std::stop_callback<std::function<void()>> on_stop_{context_.stop_token(), [this] {
                                                       uint64_t one = 1;
                                                       [[maybe_unused]] auto written =
                                                           ::write(stop_.get(), &one, sizeof one);
                                                     }};
};

}  // namespace

Result<Child> spawn(const SpawnOptions& options) {
  std::vector<char*> argv = pointers(options.args);
  std::vector<char*> envp = options.env ? pointers(*options.env) : std::vector<char*>{};
  std::vector<std::pair<int, int>> fds = options.fds;
  Stack stack;
  if (!stack) return fail_errno(errno, "start {}", options.program);
  ChildPlan plan{options.program.c_str(),
                 argv.data(),
                 options.env ? envp.data() : environ,
                 options.cwd.empty() ? nullptr : options.cwd.c_str(),
                 fds.data(),
                 fds.size(),
                 &options,
                 ::getpid(),
                 stack.error()};
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  int pidfd = -1;
  int pid = ::clone(child_main, stack.top(), kShareMemory | CLONE_VFORK | CLONE_PIDFD | SIGCHLD,
                    &plan, &pidfd);
  int clone_error = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return fail_errno(clone_error, "start {}", options.program);
  Child child{pid, UniqueFd(pidfd)};
  if (*plan.error == 0) return child;
  siginfo_t info{};
  ::waitid(P_PIDFD, child.pidfd.get(), &info, WEXITED);
  return fail_errno(*plan.error, "start {}", options.program);
}

Status wait_process(const Context& context, const UniqueFd& pidfd) {
  pollfd ended[] = {{pidfd.get(), POLLIN, 0}};
  return ContextPoll(context).wait(ended);
}

Result<ProcessExit> wait_child(const Context& context, const Child& child) {
  SKIFF_TRY_WRAP(wait_process(context, child.pidfd), "process {}", child.pid);
  siginfo_t info{};
  if (::waitid(P_PIDFD, child.pidfd.get(), &info, WEXITED) != 0)
    return fail_errno(errno, "wait for process {}", child.pid);
  return exit_of(info);
}

Result<std::optional<ProcessExit>> reap(int pid) {
  siginfo_t info{};
  while (::waitid(pid < 0 ? P_ALL : P_PID, pid < 0 ? 0 : pid, &info, WEXITED | WNOHANG) != 0) {
    if (errno == ECHILD) return fail(Code::kNotFound, "no child process");
    if (errno != EINTR) return fail_errno(errno, "wait for child processes");
  }
  if (info.si_pid == 0) return std::nullopt;
  return exit_of(info);
}

Result<UniqueFd> open_pidfd(int pid) {
  UniqueFd fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!fd) return fail_errno(errno, "process {}", pid);
  return fd;
}

Status send_signal(const UniqueFd& pidfd, int signal) {
  if (::syscall(SYS_pidfd_send_signal, pidfd.get(), signal, nullptr, 0) != 0)
    return fail_errno(errno, "send signal {}", signal);
  return ok();
}

Result<uint64_t> process_start_time(int pid) {
  std::string stat = SKIFF_TRY(read_file(fmt::format("/proc/{}/stat", pid)));
  // The command, field 2, is in parentheses and may hold anything; field 22 is the start time.
  size_t at = stat.rfind(')');
  for (int field = 2; field < 22 && at != std::string::npos; ++field) at = stat.find(' ', at + 1);
  if (at == std::string::npos) return fail(Code::kInternal, "/proc/{}/stat is cut short", pid);
  return std::strtoull(stat.c_str() + at + 1, nullptr, 10);
}

namespace {

struct Pipe {
  UniqueFd read, write;
};

Result<Pipe> make_pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return fail_errno(errno, "make a pipe");
  return Pipe{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

// Reads both until their ends, or until the context's.
Status drain(const Context& context, UniqueFd& first, std::string& out, UniqueFd& second,
             std::string& err, size_t limit) {
  ContextPoll poll(context);
  while (first || second) {
    pollfd ready[] = {{first.get(), POLLIN, 0}, {second.get(), POLLIN, 0}};
    SKIFF_TRY(poll.wait(ready));
    for (int i = 0; i < 2; ++i) {
      if (ready[i].revents == 0) continue;
      UniqueFd& from = i == 0 ? first : second;
      std::string& to = i == 0 ? out : err;
      char buffer[4096];
      ssize_t got = ::read(from.get(), buffer, sizeof buffer);
      if (got <= 0) {
        from.reset();
      } else {
        to.append(buffer, std::min<size_t>(got, limit - std::min(limit, to.size())));
      }
    }
  }
  return ok();
}

}  // namespace

Result<Output> run_program(const Context& context, const SpawnOptions& options, size_t limit) {
  Pipe out = SKIFF_TRY(make_pipe());
  Pipe err = SKIFF_TRY(make_pipe());
  SpawnOptions full = options;
  full.fds.emplace_back(out.write.get(), 1);
  full.fds.emplace_back(err.write.get(), 2);
  Child child = SKIFF_TRY(spawn(full));
  out.write.reset();
  err.write.reset();
  Output output;
  Status drained = drain(context, out.read, output.out, err.read, output.err, limit);
  if (!drained) static_cast<void>(send_signal(child.pidfd, SIGKILL));
  auto exit = wait_child(drained ? context : Context(), child);
  if (!exit && drained) {
    static_cast<void>(send_signal(child.pidfd, SIGKILL));
    static_cast<void>(wait_child(Context(), child));
  }
  SKIFF_TRY_WRAP(std::move(drained), "{}", options.program);
  output.exit = SKIFF_TRY_WRAP(std::move(exit), "{}", options.program);
  return output;
}

Status become_subreaper() {
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0)
    return fail_errno(errno, "become the parent of orphans");
  return ok();
}

}  // namespace skiff::sys
