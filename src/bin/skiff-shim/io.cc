#include "bin/skiff-shim/io.h"

#include <atomic>
#include <cerrno>
#include <chrono>
#include <future>

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

#include "bin/skiff-shim/relay.h"
#include "sys/file.h"
#include "sys/socket.h"
#include "sys/thread.h"

namespace skiff::shim {
namespace {

constexpr int kConsoleWaitMs = 5000;
constexpr auto kWriterWait = std::chrono::milliseconds(250);

// See the header: what may not be handed to the process itself.
bool needs_relay(const sys::UniqueFd& fd) {
  struct stat info{};
  if (!fd || ::fstat(fd.get(), &info) != 0) return false;
  bool null = S_ISCHR(info.st_mode) && info.st_rdev == makedev(1, 3);
  return S_ISREG(info.st_mode) || (S_ISCHR(info.st_mode) && !null);
}

bool same_file(const sys::UniqueFd& a, const sys::UniqueFd& b) {
  struct stat first{}, second{};
  return a && b && ::fstat(a.get(), &first) == 0 && ::fstat(b.get(), &second) == 0 &&
         first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

Status make_pipe(sys::UniqueFd& read_end, sys::UniqueFd& write_end) {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return fail_errno(errno, "make a pipe");
  read_end.reset(fds[0]);
  write_end.reset(fds[1]);
  return ok();
}

Result<sys::UniqueFd> duplicate(const sys::UniqueFd& fd) {
  sys::UniqueFd copy(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy) return fail_errno(errno, "duplicate a descriptor");
  return copy;
}

Result<sys::UniqueFd> open_output(const std::string& name) {
  constexpr std::string_view kFile = "file://";
  if (name.starts_with(kFile))
    return sys::open_file(name.substr(kFile.size()), O_WRONLY | O_APPEND | O_CREAT, 0600);
  if (size_t scheme = name.find("://"); scheme != std::string::npos)
    return fail(Code::kUnimplemented, "output to {}: only FIFOs and file:// are served", name);
  // Read and write: opening waits for no reader, and writing fails for none that has gone.
  return sys::open_file(name, O_RDWR);
}

Status set_size(const sys::UniqueFd& master, uint32_t rows, uint32_t columns) {
  winsize size{};
  size.ws_row = static_cast<unsigned short>(rows);
  size.ws_col = static_cast<unsigned short>(columns);
  if (::ioctl(master.get(), TIOCSWINSZ, &size) != 0) return fail_errno(errno, "resize a terminal");
  return ok();
}

// A FIFO's reading end. Its client (containerd's) opens the other one at about this time, and the
// process's input ends when the client closes it. So wait for it a moment; should none come, a
// writer of our own keeps the process from finding the end before there was a beginning, until
// close_stdin. A terminal's input has no end, and its clients come and go: always a writer.
Result<sys::UniqueFd> open_input(const std::string& path, bool terminal,
                                 sys::UniqueFd& stdin_writer) {
  struct Opening {
    std::promise<Result<sys::UniqueFd>> promise;
  };
  auto opening = std::make_shared<Opening>();
  auto opened = opening->promise.get_future();
  SKIFF_TRY(sys::start_thread("skiff-stdin", [opening, path] {
    opening->promise.set_value(sys::open_file(path, O_RDONLY));  // blocks until there is a writer
  }));
  auto patience = terminal ? std::chrono::milliseconds(0) : kWriterWait;
  if (opened.wait_for(patience) == std::future_status::timeout)
    stdin_writer = SKIFF_TRY(sys::open_file(path, O_RDWR | O_NONBLOCK));
  return opened.get();
}

Status open_paths(IoRequest& request, sys::UniqueFd& stdin_writer) {
  if (!request.in_path.empty()) {
    request.in = SKIFF_TRY(open_input(request.in_path, request.terminal, stdin_writer));
  }
  if (!request.out_path.empty()) request.out = SKIFF_TRY(open_output(request.out_path));
  if (!request.err_path.empty() && !request.terminal)
    request.err = SKIFF_TRY(open_output(request.err_path));
  return ok();
}

Status wait_readable(const Context& context, int fd) {
  pollfd ready{fd, POLLIN, 0};
  if (::poll(&ready, 1, kConsoleWaitMs) <= 0)
    return fail(Code::kInternal, "the OCI runtime sent no terminal");
  return context.check();
}

}  // namespace

ProcessIo::~ProcessIo() {
  auto state = state_.lock();
  if (state->input) state->input->stop();
  for (const auto& relay : state->outputs) relay->stop();
}

Result<std::unique_ptr<ProcessIo>> ProcessIo::open(IoRequest request) {
  std::unique_ptr<ProcessIo> io(new ProcessIo);
  auto state = io->state_.lock();
  io->terminal_ = request.terminal;
  state->rows = request.rows;
  state->columns = request.columns;
  SKIFF_TRY(open_paths(request, state->stdin_writer));
  if (request.terminal) {
    state->client_in = std::move(request.in);
    state->client_out = std::move(request.out);
    SKIFF_TRY(io->open_console());
    state.unlock();
    return io;
  }
  bool one = same_file(request.out, request.err);
  state->in = std::move(request.in);
  state->out = std::move(request.out);
  state->err = std::move(request.err);
  if (needs_relay(state->in)) {
    state->client_in = std::move(state->in);
    SKIFF_TRY(make_pipe(state->in, state->relay_in));
  }
  if (needs_relay(state->out)) {
    state->client_out = std::move(state->out);
    SKIFF_TRY(make_pipe(state->relay_out, state->out));
    // One pipe keeps the order of what the process writes to both.
    if (one) state->err = SKIFF_TRY(duplicate(state->out));
  }
  if (needs_relay(state->err)) {
    state->client_err = std::move(state->err);
    SKIFF_TRY(make_pipe(state->relay_err, state->err));
  }
  state.unlock();
  return io;
}

// The OCI runtime connects to this socket and sends the pty's master. Its path goes through our
// descriptor of the folder, since the runtime cannot connect to a path of more than 107 bytes.
Status ProcessIo::open_console() {
  static std::atomic<unsigned> counter = 0;
  std::string name = fmt::format("console-{}.sock", counter++);
  console_folder_ = SKIFF_TRY(sys::open_dir("."));
  console_socket_ = fmt::format("/proc/{}/fd/{}/{}", ::getpid(), console_folder_.get(), name);
  console_listener_ = SKIFF_TRY(sys::listen_unix(console_socket_, 0600, 1));
  return ok();
}

RuntimeStdio ProcessIo::runtime_stdio() {
  auto state = state_.lock();
  return {state->in.get(), state->out.get(), state->err.get(), console_socket_};
}

Result<sys::UniqueFd> ProcessIo::take_console(const Context& context) {
  SKIFF_TRY(wait_readable(context, console_listener_.get()));
  auto peer = SKIFF_TRY(sys::accept_unix(console_listener_.get()));
  ::unlink(console_socket_.c_str());
  if (!peer) return fail(Code::kInternal, "the OCI runtime sent no terminal");
  SKIFF_TRY(wait_readable(context, peer->get()));
  std::vector<sys::UniqueFd> fds;
  std::byte name[4096];
  SKIFF_TRY(sys::receive_some(peer->get(), name, fds));
  if (fds.size() != 1)
    return fail(Code::kInternal, "the OCI runtime sent {} terminals", fds.size());
  console_listener_.reset();
  console_folder_.reset();
  return std::move(fds.front());
}

Status ProcessIo::started(const Context& context) {
  sys::UniqueFd master;
  if (terminal_) master = SKIFF_TRY(take_console(context));
  auto state = state_.lock();
  if (master) {
    state->relay_in = SKIFF_TRY(duplicate(master));
    state->relay_out = SKIFF_TRY(duplicate(master));
    if (state->rows != 0 && state->columns != 0)
      SKIFF_TRY(set_size(master, state->rows, state->columns));
    state->master = std::move(master);
  }
  state->in.reset();
  state->out.reset();
  state->err.reset();
  if (state->client_in && state->relay_in && !state->stdin_closed)
    state->input = SKIFF_TRY(Relay::start(std::move(state->client_in), std::move(state->relay_in)));
  state->relay_in.reset();
  auto relay_output = [&](sys::UniqueFd& from, sys::UniqueFd& to) -> Status {
    // Without a client (`to` empty) what comes is read and dropped.
    if (from) state->outputs.push_back(SKIFF_TRY(Relay::start(std::move(from), std::move(to))));
    return ok();
  };
  SKIFF_TRY(relay_output(state->relay_out, state->client_out));
  return relay_output(state->relay_err, state->client_err);
}

Status ProcessIo::resize(uint32_t rows, uint32_t columns) {
  if (!terminal_) return fail(Code::kFailedPrecondition, "the process has no terminal");
  auto state = state_.lock();
  state->rows = rows;
  state->columns = columns;
  return state->master ? set_size(state->master, rows, columns) : ok();
}

void ProcessIo::close_stdin() {
  auto state = state_.lock();
  state->stdin_closed = true;
  state->stdin_writer.reset();
  if (state->input && !terminal_) state->input->stop();
}

void ProcessIo::when_drained(std::function<void()> done) {
  auto state = state_.lock();
  state->stdin_writer.reset();
  if (state->input) state->input->stop();
  auto outputs = state->outputs;
  state.unlock();
  if (outputs.empty()) return done();
  auto rest = std::make_shared<std::atomic<size_t>>(outputs.size());
  for (const auto& relay : outputs)
    relay->when_drained([rest, done] {
      if (--*rest == 0) done();
    });
}

}  // namespace skiff::shim
