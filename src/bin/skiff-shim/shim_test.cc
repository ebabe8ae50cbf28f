#include <atomic>
#include <csignal>
#include <future>
#include <optional>
#include <thread>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bin/skiff-shim/arguments.h"
#include "bin/skiff-shim/io.h"
#include "bin/skiff-shim/oci_runtime.h"
#include "bin/skiff-shim/process.h"
#include "bin/skiff-shim/relay.h"
#include "bin/skiff-shim/runtime_file.h"
#include "sys/file.h"

namespace skiff::shim {
namespace {

using namespace std::chrono_literals;

Result<Arguments> parse(std::vector<const char*> words) {
  words.insert(words.begin(), "skiff-shim");
  return parse_arguments(static_cast<int>(words.size()), const_cast<char**>(words.data()));
}

TEST(ShimArguments, AreContainerds) {
  auto parsed = parse({"-namespace", "k8s.io", "-address", "/run/containerd/containerd.sock",
                       "-publish-binary", "/usr/bin/containerd", "-id", "c1", "-debug", "start"});
  ASSERT_TRUE(parsed) << parsed.error().message();
  EXPECT_EQ(parsed->action, "start");
  EXPECT_EQ(parsed->name_space, "k8s.io");
  EXPECT_EQ(parsed->id, "c1");
  EXPECT_TRUE(parsed->debug);
  EXPECT_EQ(parse({"--id=c2", "delete"})->id, "c2");
  EXPECT_FALSE(parse({"-id"}));
  EXPECT_FALSE(parse({"-fly", "start"}));
  EXPECT_FALSE(parse({"start", "delete"}));
}

TEST(RuntimeLog, TheLastErrorCounts) {
  EXPECT_EQ(last_error("{\"level\":\"warning\",\"msg\":\"hm\"}\n"
                       "{\"level\":\"error\",\"msg\":\"first\"}\n"
                       "not json\n{\"level\":\"error\",\"msg\":\"second\"}\n{\"level\":\"err"),
            "second");
  EXPECT_EQ(last_error(""), "");
}

TEST(RuntimeFileTest, IsReadBack) {
  sys::TempDir dir;
  ASSERT_TRUE(write_runtime_file(dir.path(), {"/usr/sbin/runc", "/run/x"}));
  auto file = read_runtime_file(dir.path());
  ASSERT_TRUE(file);
  EXPECT_EQ(file->program, "/usr/sbin/runc");
  EXPECT_EQ(file->root, "/run/x");
  ASSERT_TRUE(sys::write_file(dir.path() / "runtime", "cut"));
  EXPECT_EQ(read_runtime_file(dir.path()).error().code(), Code::kDataLoss);
}

sys::SpawnOptions shell(const std::string& script) {
  sys::SpawnOptions options;
  options.program = "/bin/sh";
  options.args = {"sh", "-c", script};
  return options;
}

TEST(ReaperTest, AnExitBeforeItsPidIsKnownIsNotMissed) {
  Reaper reaper;
  std::optional<Exit> seen;
  auto keep = [&](const Exit& exit) { seen = exit; };
  {
    Reaper::Window window(reaper);
    auto child = sys::spawn(shell("exit 4"));
    ASSERT_TRUE(sys::wait_process({}, child->pidfd));
    reaper.reap();
    reaper.watch(child->pid, keep);
  }
  ASSERT_TRUE(seen);
  EXPECT_EQ(seen->code, 4);
  auto later = sys::spawn(shell("kill -KILL $$"));
  reaper.watch(later->pid, keep);
  ASSERT_TRUE(sys::wait_process({}, later->pidfd));
  reaper.reap();
  EXPECT_EQ(seen->code, 137);
  EXPECT_EQ(seen->signal, SIGKILL);
}

TEST(ReaperTest, ARunEndsWithItsContext) {
  Reaper reaper;
  std::atomic<bool> over = false;
  std::jthread children([&] {
    while (!over) {
      reaper.reap();
      std::this_thread::yield();
    }
  });
  EXPECT_EQ(reaper.run({}, shell("exit 6"))->code, 6);
  EXPECT_EQ(reaper.run(Context().with_timeout(20ms), shell("exec sleep 100")).error().code(),
            Code::kDeadlineExceeded);
  over = true;
}

struct Pipe {
  sys::UniqueFd read, write;
};
Pipe make_pipe() {
  int fds[2];
  EXPECT_EQ(::pipe2(fds, O_CLOEXEC), 0);
  return {sys::UniqueFd(fds[0]), sys::UniqueFd(fds[1])};
}

TEST(RelayTest, DrainedMeansThatAllHasBeenCopied) {
  Pipe from = make_pipe(), to = make_pipe();
  ASSERT_TRUE(sys::write_fd(from.write.get(), as_bytes(std::string(50'000, 'x'))));
  auto relay = *Relay::start(std::move(from.read), std::move(to.write));
  std::promise<void> drained;
  relay->when_drained([&] { drained.set_value(); });  // the writer's end stays open here
  std::string text(50'000, '\0');
  size_t got = 0;
  while (got < text.size()) got += ::read(to.read.get(), text.data() + got, text.size() - got);
  drained.get_future().wait();
  ASSERT_TRUE(sys::write_fd(from.write.get(), as_bytes("more")));  // whoever else holds it
  from.write.reset();
  EXPECT_EQ(*sys::read_fd(to.read.get()), "more");
}

TEST(RelayTest, AClientThatHasGoneBlocksNoWriter) {
  Pipe from = make_pipe(), to = make_pipe();
  to.read.reset();
  std::signal(SIGPIPE, SIG_IGN);
  auto relay = *Relay::start(std::move(from.read), std::move(to.write));
  std::string much(1 << 20, 'x');  // far beyond what the pipe holds
  EXPECT_TRUE(sys::write_fd(from.write.get(), as_bytes(much)));
  from.write.reset();
  std::promise<void> drained;
  relay->when_drained([&] { drained.set_value(); });
  drained.get_future().wait();
}

TEST(ProcessIoTest, PipesAreHandedOverAndFilesAreNot) {
  sys::TempDir dir;
  IoRequest request;
  Pipe in = make_pipe();
  request.in = std::move(in.read);
  int in_number = request.in.get();
  request.out = *sys::open_file(dir.path() / "out", O_RDWR | O_CREAT);
  int out_number = request.out.get();
  auto io = ProcessIo::open(std::move(request));
  ASSERT_TRUE(io);
  RuntimeStdio stdio = (*io)->runtime_stdio();
  EXPECT_EQ(stdio.in, in_number);
  EXPECT_NE(stdio.out, out_number);
  EXPECT_EQ(stdio.err, -1);
  ASSERT_TRUE(sys::write_fd(stdio.out, as_bytes("hello")));
  ASSERT_TRUE((*io)->started({}));
  std::promise<void> drained;
  (*io)->when_drained([&] { drained.set_value(); });
  drained.get_future().wait();
  EXPECT_EQ(*sys::read_file(dir.path() / "out"), "hello");
}

class FifoTest : public testing::Test {
 protected:
  FifoTest() { EXPECT_EQ(::mkfifo(fifo_.c_str(), 0600), 0); }
  // Opens the process's input and gives its end of the FIFO.
  sys::UniqueFd open() {
    IoRequest request;
    request.in_path = fifo_;
    auto io = ProcessIo::open(std::move(request));
    EXPECT_TRUE(io) << io.error().message();
    io_ = std::move(*io);
    sys::UniqueFd reader(::fcntl(io_->runtime_stdio().in, F_DUPFD_CLOEXEC, 0));
    EXPECT_TRUE(io_->started({}));
    return reader;
  }
  void write_as_client(std::string_view text) {
    auto writer = sys::open_file(fifo_, O_WRONLY);
    EXPECT_TRUE(writer && sys::write_fd(writer->get(), as_bytes(text)));
  }

  sys::TempDir dir_;
  std::string fifo_ = dir_.path() / "in";
  std::unique_ptr<ProcessIo> io_;
};

TEST_F(FifoTest, InputEndsWithItsClient) {
  std::jthread client([&] { write_as_client("all there is"); });
  EXPECT_EQ(*sys::read_fd(open().get()), "all there is");
}

TEST_F(FifoTest, WithoutAClientItEndsOnlyWhenClosed) {
  sys::UniqueFd reader = open();
  write_as_client("one");
  char buffer[16];
  EXPECT_EQ(::read(reader.get(), buffer, sizeof buffer), 3);
  ::fcntl(reader.get(), F_SETFL, O_NONBLOCK);
  EXPECT_EQ(::read(reader.get(), buffer, sizeof buffer), -1);  // would block: not the end
  io_->close_stdin();
  EXPECT_EQ(::read(reader.get(), buffer, sizeof buffer), 0);
}

TEST(ProcessIoTest, UnknownOutputsAreRefused) {
  IoRequest request;
  request.out_path = "binary:///bin/logger";
  EXPECT_EQ(ProcessIo::open(std::move(request)).error().code(), Code::kUnimplemented);
}

TEST(ProcessTest, TheExitReachesEveryWaiterOnce) {
  Process process("e1", {}, nullptr);
  int told = 0;
  process.when_exited([&](const ExitResponse& exit) { told += exit.exit_status; });
  process.finish({.pid = 5, .exit_status = 3});
  process.when_exited([&](const ExitResponse& exit) { told += exit.exit_status; });
  EXPECT_EQ(told, 6);
  EXPECT_EQ(process.signal(9).error().code(), Code::kNotFound);
}

}  // namespace
}  // namespace skiff::shim
