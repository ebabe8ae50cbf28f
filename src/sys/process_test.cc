#include "sys/process.h"

#include <atomic>
#include <csignal>
#include <future>
#include <thread>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sys/cgroup.h"
#include "sys/event_loop.h"
#include "sys/file.h"
#include "sys/thread.h"

namespace skiff::sys {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

SpawnOptions shell(const std::string& script) {
  SpawnOptions options;
  options.program = "/bin/sh";
  options.args = {"sh", "-c", script};
  return options;
}

TEST(Process, ExitsAndSignalsAreTold) {
  auto output = run_program({}, shell("echo out; echo err >&2; exit 3"));
  ASSERT_TRUE(output) << output.error().message();
  EXPECT_EQ(output->exit.code, 3);
  EXPECT_EQ(output->out, "out\n");
  EXPECT_EQ(output->err, "err\n");
  auto killed = run_program({}, shell("kill -TERM $$"));
  EXPECT_EQ(killed->exit.signal, SIGTERM);
  EXPECT_EQ(killed->exit.status(), 143);
}

TEST(Process, AProgramThatCannotStartSaysWhy) {
  SpawnOptions options;
  options.program = "/no/such/program";
  options.args = {"x"};
  EXPECT_EQ(spawn(options).error().code(), Code::kNotFound);
  TempDir dir;
  ASSERT_TRUE(write_file(dir.path() / "text", "no program", 0644));
  options.program = dir.path() / "text";
  EXPECT_EQ(spawn(options).error().code(), Code::kPermissionDenied);
  options.program = "/bin/sh";
  options.cwd = "/no/such/folder";
  EXPECT_EQ(spawn(options).error().code(), Code::kNotFound);
}

TEST(Process, DescriptorsLandWhereTheyBelong) {
  int first[2], second[2];
  ASSERT_EQ(::pipe2(first, O_CLOEXEC), 0);
  ASSERT_EQ(::pipe2(second, O_CLOEXEC), 0);
  UniqueFd read_first(first[0]), write_first(first[1]), read_second(second[0]),
      write_second(second[1]);
  // The targets are each other's sources: a naive sequence of dup2 would lose one.
  SpawnOptions options =
      shell(fmt::format("echo to-second >&{}; echo to-first >&{}; [ ! -e /proc/self/fd/{} ]",
                        first[1], second[1], first[0]));
  options.fds = {{second[1], first[1]}, {first[1], second[1]}};
  auto child = spawn(options);
  ASSERT_TRUE(child);
  write_first.reset();
  write_second.reset();
  EXPECT_EQ(wait_child({}, *child)->status(), 0);
  EXPECT_EQ(*read_fd(read_second.get()), "to-second\n");
  EXPECT_EQ(*read_fd(read_first.get()), "to-first\n");
}

TEST(Process, SessionEnvironmentAndFolder) {
  SpawnOptions options = shell("echo $ONLY $HOME; pwd; cut -d' ' -f6 /proc/$$/stat; echo $$");
  options.env = std::vector<std::string>{"ONLY=this", "PATH=/bin:/usr/bin"};
  options.cwd = "/";
  options.new_session = true;
  auto output = run_program({}, options);
  ASSERT_TRUE(output);
  std::string out = output->out;
  EXPECT_THAT(out, testing::StartsWith("this\n/\n"));
  out.erase(0, 7);
  EXPECT_EQ(out.substr(0, out.find('\n') + 1), out.substr(out.find('\n') + 1)) << "session != pid";
}

TEST(Process, TheContextEndsARun) {
  auto start = std::chrono::steady_clock::now();
  auto late = run_program(Context().with_timeout(30ms), shell("exec sleep 100"));
  EXPECT_EQ(late.error().code(), Code::kDeadlineExceeded);
  std::stop_source stop;
  std::jthread stopper([&] { stop.request_stop(); });
  auto stopped = run_program(Context().with_stop(stop.get_token()), shell("exec sleep 100"));
  EXPECT_EQ(stopped.error().code(), Code::kCanceled);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 60s);
}

TEST(Process, OutputIsBounded) {
  auto output = run_program({}, shell("yes | head -c 100000"), 1000);
  ASSERT_TRUE(output);
  EXPECT_EQ(output->out.size(), 1000u);
}

TEST(Process, StartTimesTellProcessesApart) {
  EXPECT_EQ(*process_start_time(::getpid()), *process_start_time(::getpid()));
  EXPECT_FALSE(process_start_time(1 << 30));
}

TEST(WorkerPool, RunsAllAndDrains) {
  std::atomic<int> ran = 0;
  WorkerPool pool({.name = "test", .max_threads = 3});
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(pool.submit([&] { ran++; }));
  pool.drain();
  EXPECT_EQ(ran, 100);
  EXPECT_EQ(pool.submit([] {}).error().code(), Code::kUnavailable);
}

TEST(WorkerPool, RefusesWhatItCannotQueue) {
  std::promise<void> go;
  auto gone = go.get_future().share();
  WorkerPool pool({.name = "test", .max_threads = 1, .max_queued = 2});
  Status last;
  for (int i = 0; i < 10 && last; ++i) last = pool.submit([gone] { gone.wait(); });
  EXPECT_EQ(last.error().code(), Code::kResourceExhausted);
  go.set_value();
  pool.drain();
}

TEST(EventLoop, TimersPostsAndRemovals) {
  auto loop = *EventLoop::create();
  std::string order;
  loop->post([&] { order += "p"; });
  ASSERT_TRUE(loop->after(1ms, [&] { order += "a"; }));
  auto cancelled = loop->after(1ms, [&] { order += "x"; });
  loop->remove(*cancelled);
  ASSERT_TRUE(loop->after(20ms, [&] { loop->stop(); }));
  loop->run();
  EXPECT_EQ(order, "pa");
}

// One line a mount, as the kernel writes them.
constexpr char kHybrid[] =
    "30 24 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    "32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "34 30 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n";

TEST(Cgroup, HostsAreToldApart) {
  auto hybrid = CgroupHost::from_mountinfo(kHybrid);
  ASSERT_TRUE(hybrid);
  EXPECT_EQ(hybrid->mode, CgroupMode::kHybrid);
  EXPECT_EQ(hybrid->folder("memory", "/skiff/a"), "/sys/fs/cgroup/memory/skiff/a");
  EXPECT_EQ(hybrid->folder("cpuacct", "skiff/a"), "/sys/fs/cgroup/cpu,cpuacct/skiff/a");
  EXPECT_EQ(hybrid->folders("/a").size(), 4u);  // cpu and cpuacct are one; unified counts
  auto v1 = CgroupHost::from_mountinfo(
      "32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
  EXPECT_EQ(v1->mode, CgroupMode::kV1);
  auto v2 = CgroupHost::from_mountinfo("31 30 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  EXPECT_EQ(v2->mode, CgroupMode::kV2);
  EXPECT_EQ(v2->folder("memory", "/skiff/a"), "/sys/fs/cgroup/skiff/a");
  EXPECT_FALSE(CgroupHost::from_mountinfo("1 1 0:1 / / rw - ext4 /dev/sda rw\n"));
}

TEST(Cgroup, OomKillsAreReadFromEitherVersion) {
  TempDir dir;
  CgroupHost v2{CgroupMode::kV2, dir.path(), {}};
  ASSERT_TRUE(make_dirs(dir.path() / "c"));
  ASSERT_TRUE(
      write_file(dir.path() / "c/memory.events", "low 0\nhigh 0\nmax 9\noom 2\noom_kill 3\n"));
  EXPECT_EQ(*oom_kills(v2, "/c"), 3u);
  CgroupHost v1{CgroupMode::kV1, dir.path(), {{"memory", dir.path()}}};
  ASSERT_TRUE(write_file(dir.path() / "c/memory.oom_control",
                         "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n"));
  EXPECT_EQ(*oom_kills(v1, "/c"), 5u);
  EXPECT_EQ(oom_kills(v1, "/none").error().code(), Code::kNotFound);
}

TEST(Cgroup, PidsOfAllBelowAreListed) {
  TempDir dir;
  CgroupHost host{CgroupMode::kV2, dir.path(), {}};
  ASSERT_TRUE(make_dirs(dir.path() / "c/inner"));
  ASSERT_TRUE(write_file(dir.path() / "c/cgroup.procs", "10\n11\n"));
  ASSERT_TRUE(write_file(dir.path() / "c/inner/cgroup.procs", "12\n"));
  EXPECT_THAT(*cgroup_pids(host, "/c"), testing::UnorderedElementsAre(10, 11, 12));
  EXPECT_TRUE(cgroup_pids(host, "/none")->empty());
}

TEST(Cgroup, ARealOneIsEnteredKilledAndRemoved) {
  auto host = CgroupHost::detect();
  if (::geteuid() != 0 || !host) GTEST_SKIP() << "needs root and cgroups";
  std::string name = fmt::format("/skiff-test-{}/inner", ::getpid());
  auto child = spawn(shell("exec sleep 1000"));
  ASSERT_TRUE(child);
  Status entered = enter_cgroup(*host, name, child->pid);
  ASSERT_TRUE(entered) << entered.error().message();
  EXPECT_THAT(*cgroup_pids(*host, name), testing::Contains(child->pid));
  EXPECT_FALSE(remove_cgroup(*host, name));
  EXPECT_TRUE(kill_cgroup(*host, name));
  EXPECT_EQ(wait_child({}, *child)->signal, SIGKILL);
  Status removed = remove_cgroup(*host, fmt::format("/skiff-test-{}", ::getpid()));
  EXPECT_TRUE(removed) << removed.error().message();
  for (const Path& folder : host->folders(name)) EXPECT_FALSE(path_exists(folder));
}

}  // namespace
}  // namespace skiff::sys
