// Containers through the real shim and the OCI runtime that works here. Needs root and a static
// busybox; says so and skips without.
#include <condition_variable>
#include <fstream>
#include <optional>
#include <set>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/guarded.h"
#include "base/random_id.h"
#include "runtime/shim_manager.h"
#include "runtime/spec.h"
#include "sys/cgroup.h"
#include "sys/mount.h"
#include "sys/process.h"

namespace skiff::runtime {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

struct Pipe {
  sys::UniqueFd read, write;
};
Pipe make_pipe() {
  int fds[2];
  EXPECT_EQ(::pipe2(fds, O_CLOEXEC), 0);
  return {sys::UniqueFd(fds[0]), sys::UniqueFd(fds[1])};
}

class ShimTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    if (::access("/usr/bin/busybox", X_OK) != 0) GTEST_SKIP() << "needs busybox-static";
    ShimManagerOptions options{dir_.path() / "state", SKIFF_BIN_DIR "/skiff-shim", "", ""};
    auto manager = ShimManager::create(options);
    ASSERT_TRUE(manager) << manager.error().message();
    manager_ = std::move(*manager);
    auto runtime = manager_->runtime(context_, "");
    ASSERT_TRUE(runtime) << runtime.error().message();
    runtime_ = runtime->program;
  }

  void TearDown() override {
    if (!manager_) return;
    for (const std::string& id : ids_) {
      Status cleaned = manager_->clean(context_, id);
      EXPECT_TRUE(cleaned) << cleaned.error().message();
    }
    expect_nothing_left();
  }

  // By the kernel's own lists.
  void expect_nothing_left() {
    auto mounts = sys::mounts_below(dir_.path());
    ASSERT_TRUE(mounts);
    EXPECT_TRUE(mounts->empty());
    auto host = sys::CgroupHost::detect();
    ASSERT_TRUE(host);
    for (const std::string& id : ids_)
      for (const auto& folder : host->folders(cgroup(id))) EXPECT_FALSE(sys::path_exists(folder));
    EXPECT_TRUE(sys::remove_cgroup(*host, parent_));
    auto rest = manager_->list(context_);
    EXPECT_TRUE(rest && rest->empty());
    auto root = dir_.path() / "state" / "runtime" / "default";
    if (sys::path_exists(root)) EXPECT_TRUE(sys::list_dir(root)->empty());
  }

  std::string cgroup(const std::string& id) { return parent_ + "/" + id; }

  // A root file system of busybox alone.
  void make_rootfs(const sys::Path& rootfs) {
    for (const char* folder : {"bin", "proc", "dev", "sys", "etc", "tmp"})
      ASSERT_TRUE(sys::make_dirs(rootfs / folder));
    std::filesystem::copy_file("/usr/bin/busybox", rootfs / "bin/busybox",
                               std::filesystem::copy_options::overwrite_existing);
    for (const char* name :
         {"sh", "cat", "echo", "sleep", "true", "stty", "tty", "kill", "dd", "id", "wc"})
      std::filesystem::create_symlink("busybox", rootfs / "bin" / name);
    std::ofstream(rootfs / "bin/not-executable") << "text";
  }

  struct Run {
    std::string id;
    std::unique_ptr<Shim> shim;
    Result<uint32_t> pid = uint32_t{0};
  };

  Run run(std::vector<std::string> args, Stdio stdio = {},
          std::function<void(SpecOptions&)> adjust = {}, bool start = true) {
    Run run{"t-" + random_id(6), nullptr};
    ids_.push_back(run.id);
    auto shim = manager_->launch(context_, run.id);
    EXPECT_TRUE(shim) << shim.error().message();
    run.shim = std::move(*shim);
    Bundle bundle = manager_->bundle(context_, run.id);
    make_rootfs(bundle.rootfs());
    SpecOptions options;
    options.id = run.id;
    options.rootfs = bundle.rootfs();
    options.args = std::move(args);
    options.terminal = stdio.terminal;
    options.rows = stdio.rows;
    options.columns = stdio.columns;
    options.cgroup_path = cgroup(run.id);
    if (adjust) adjust(options);
    auto spec = make_spec(options);
    EXPECT_TRUE(spec) << spec.error().message();
    EXPECT_TRUE(bundle.write_config(spec->config));
    run.pid = run.shim->create(context_, {run.id, bundle.folder(), runtime_, start, false},
                               std::move(stdio));
    return run;
  }

  Result<ExitStatus> wait(Shim& shim, const Process& process) {
    struct Waiter {
      Guarded<std::optional<Result<ExitStatus>>> exit;
      std::condition_variable_any changed;
    };
    auto waiter = std::make_shared<Waiter>();
    auto cancel = shim.when_exited(process, [waiter](Result<ExitStatus> exit) {
      *waiter->exit.lock() = std::move(exit);
      waiter->changed.notify_all();
    });
    auto exit = waiter->exit.lock();
    exit.wait_until(waiter->changed, {}, std::chrono::steady_clock::now() + 60s,
                    [&] { return exit->has_value(); });
    if (!exit->has_value()) return fail(Code::kDeadlineExceeded, "no exit within a minute");
    return **exit;
  }

  // Runs to the end and says how it ended; `out` gets stdout and stderr.
  Result<ExitStatus> run_to_end(std::vector<std::string> args, std::string* out = nullptr,
                                std::function<void(SpecOptions&)> adjust = {}) {
    Pipe pipe = make_pipe();
    Stdio stdio;
    stdio.err.reset(::fcntl(pipe.write.get(), F_DUPFD_CLOEXEC, 0));
    stdio.out = std::move(pipe.write);
    Run one = run(std::move(args), std::move(stdio), std::move(adjust));
    auto text = sys::read_fd(pipe.read.get());
    if (out) *out = text.value_or("");
    if (!one.pid) return std::unexpected(one.pid.error());
    auto exit = wait(*one.shim, {one.id, ""});
    auto removed = one.shim->remove(context_, {one.id, ""});
    EXPECT_TRUE(removed) << removed.error().message();
    EXPECT_TRUE(one.shim->shutdown(context_));
    return exit;
  }

  Context context_;
  std::string parent_ = "/skiff-test-" + random_id(4);
  sys::TempDir dir_{"skiff-shim-test-"};
  std::unique_ptr<ShimManager> manager_;
  std::string runtime_;
  std::vector<std::string> ids_;
};

TEST_F(ShimTest, ExitCodesAreExact) {
  EXPECT_EQ(run_to_end({"true"})->code, 0u);
  EXPECT_EQ(run_to_end({"sh", "-c", "exit 7"})->code, 7u);
  auto killed = run_to_end({"sh", "-c", "kill -9 $$; exit 3"});
  // The kernel shields pid 1 from its own signals, so a child does it.
  EXPECT_EQ(killed->code, 3u);
  EXPECT_EQ(run_to_end({"sh", "-c", "sh -c 'kill -9 $$'; exit $?"})->code, 137u);
}

TEST_F(ShimTest, ACommandThatCannotRunIs126Or127) {
  auto missing = run_to_end({"no-such-command"});
  ASSERT_FALSE(missing);
  EXPECT_EQ(exit_code_of_failure(missing.error()), 127) << missing.error().message();
  auto missing_path = run_to_end({"/no/such/command"});
  ASSERT_FALSE(missing_path);
  EXPECT_EQ(exit_code_of_failure(missing_path.error()), 127) << missing_path.error().message();
  auto denied = run_to_end({"/bin/not-executable"});
  ASSERT_FALSE(denied);
  EXPECT_EQ(exit_code_of_failure(denied.error()), 126) << denied.error().message();
  auto bad_mount = run_to_end({"true"}, nullptr, [](SpecOptions& options) {
    options.mounts.push_back({"bind", "/no/such/source", "/mnt", {"rbind"}});
  });
  ASSERT_FALSE(bad_mount);
  EXPECT_EQ(exit_code_of_failure(bad_mount.error()), 125) << bad_mount.error().message();
}

TEST_F(ShimTest, PipesGoStraightThrough) {
  Pipe in = make_pipe(), out = make_pipe();
  Run one = run({"cat"}, {std::move(in.read), std::move(out.write), {}});
  ASSERT_TRUE(one.pid) << one.pid.error().message();
  ASSERT_TRUE(sys::write_fd(in.write.get(), as_bytes("through and back")));
  in.write.reset();
  EXPECT_EQ(sys::read_fd(out.read.get()).value(), "through and back");
  EXPECT_EQ(wait(*one.shim, {one.id, ""})->code, 0u);
}

TEST_F(ShimTest, FilesAreCopiedToAndKeepTheirOwner) {
  auto path = dir_.path() / "out.txt";
  sys::UniqueFd file = *sys::open_file(path, O_RDWR | O_CREAT, 0600);
  ASSERT_EQ(::fchown(file.get(), 1234, 1234), 0);
  Stdio stdio;
  stdio.err.reset(::fcntl(file.get(), F_DUPFD_CLOEXEC, 0));
  stdio.out = std::move(file);
  Run one = run({"sh", "-c", "for i in 1 2 3; do echo out $i; echo err $i >&2; done"},
                std::move(stdio), [](SpecOptions& options) { options.user = "77"; });
  ASSERT_TRUE(one.pid) << one.pid.error().message();
  EXPECT_EQ(wait(*one.shim, {one.id, ""})->code, 0u);
  EXPECT_EQ(*sys::read_file(path), "out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3\n");
  EXPECT_EQ(sys::stat_path(path)->st_uid, 1234u);
}

TEST_F(ShimTest, ATerminalHasItsSizeAndEchoes) {
  Pipe in = make_pipe(), out = make_pipe();
  Stdio stdio{std::move(in.read), std::move(out.write), {}, true, 33, 101};
  Run one = run({"sh", "-c", "stty size; read line; echo got $line; stty size"}, std::move(stdio));
  ASSERT_TRUE(one.pid) << one.pid.error().message();
  std::string text;
  auto read_until = [&](std::string_view words) {
    char buffer[256];
    while (text.find(words) == std::string::npos) {
      ssize_t got = ::read(out.read.get(), buffer, sizeof buffer);
      if (got <= 0) break;
      text.append(buffer, got);
    }
  };
  read_until("33 101");
  ASSERT_TRUE(one.shim->resize(context_, {one.id, ""}, 40, 120));
  ASSERT_TRUE(sys::write_fd(in.write.get(), as_bytes("typed\n")));
  text += sys::read_fd(out.read.get()).value();
  EXPECT_THAT(text, HasSubstr("33 101"));
  EXPECT_THAT(text, HasSubstr("got typed"));
  EXPECT_THAT(text, HasSubstr("40 120"));
  EXPECT_EQ(wait(*one.shim, {one.id, ""})->code, 0u);
}

TEST_F(ShimTest, KillEndsItWith128PlusTheSignal) {
  Run one = run({"sleep", "1000"});
  ASSERT_TRUE(one.pid) << one.pid.error().message();
  EXPECT_EQ(one.shim->state(context_, {one.id, ""})->status, TaskStatus::kRunning);
  EXPECT_EQ(one.shim->remove(context_, {one.id, ""}).error().code(), Code::kFailedPrecondition);
  ASSERT_TRUE(one.shim->kill(context_, {one.id, ""}, SIGKILL, false));
  auto exit = wait(*one.shim, {one.id, ""});
  EXPECT_EQ(exit->code, 137u);
  EXPECT_EQ(exit->signal, 9u);
  EXPECT_FALSE(exit->oom_killed());
  auto state = one.shim->state(context_, {one.id, ""});
  EXPECT_EQ(state->status, TaskStatus::kStopped);
  EXPECT_EQ(state->exit->code, 137u);
  EXPECT_EQ(one.shim->kill(context_, {one.id, ""}, SIGTERM, false).error().code(), Code::kNotFound);
  EXPECT_EQ(one.shim->remove(context_, {one.id, ""})->code, 137u);
  EXPECT_EQ(one.shim->state(context_, {one.id, ""}).error().code(), Code::kNotFound);
}

TEST_F(ShimTest, CreateAndStartInTwoSteps) {
  Pipe out = make_pipe();
  Run one = run({"echo", "started"}, {{}, std::move(out.write), {}}, {}, false);
  ASSERT_TRUE(one.pid) << one.pid.error().message();
  EXPECT_EQ(one.shim->state(context_, {one.id, ""})->status, TaskStatus::kCreated);
  auto pid = one.shim->start(context_, one.id);
  ASSERT_TRUE(pid) << pid.error().message();
  EXPECT_EQ(*pid, *one.pid);
  EXPECT_EQ(sys::read_fd(out.read.get()).value(), "started\n");
  EXPECT_EQ(wait(*one.shim, {one.id, ""})->code, 0u);
  EXPECT_EQ(one.shim->start(context_, one.id).error().code(), Code::kFailedPrecondition);
}

TEST_F(ShimTest, ACreatedContainerCanBeRemoved) {
  Run one = run({"true"}, {}, {}, false);
  ASSERT_TRUE(one.pid) << one.pid.error().message();
  EXPECT_TRUE(one.shim->remove(context_, {one.id, ""}));
}

TEST_F(ShimTest, ExecsRunBesideTheInit) {
  Run one = run({"sleep", "1000"});
  ASSERT_TRUE(one.pid) << one.pid.error().message();
  auto exec = [&](const std::string& id, std::vector<std::string> args, std::string* text) {
    SpecOptions options;
    options.rootfs = manager_->bundle(context_, one.id).rootfs();
    options.args = std::move(args);
    std::vector<std::string> warnings;
    auto process = make_process(options, warnings);
    Pipe out = make_pipe();
    auto pid = one.shim->exec(context_, {one.id, id}, json::dump(*process),
                              {{}, std::move(out.write), {}});
    if (text) *text = sys::read_fd(out.read.get()).value();
    return pid;
  };
  std::string text;
  ASSERT_TRUE(exec("e1", {"sh", "-c", "echo in exec; exit 5"}, &text));
  EXPECT_EQ(text, "in exec\n");
  EXPECT_EQ(wait(*one.shim, {one.id, "e1"})->code, 5u);
  auto missing = exec("e2", {"no-such-command"}, nullptr);
  ASSERT_FALSE(missing);
  EXPECT_EQ(exit_code_of_failure(missing.error()), 127);
  EXPECT_TRUE(exec("e2", {"true"}, nullptr));  // the failed start freed the id
  EXPECT_EQ(exec("e1", {"true"}, nullptr).error().code(), Code::kAlreadyExists);
  EXPECT_TRUE(one.shim->remove(context_, {one.id, "e1"}));
  ASSERT_TRUE(exec("e3", {"sleep", "1000"}, nullptr));
  ASSERT_TRUE(one.shim->kill(context_, {one.id, "e3"}, SIGTERM, false));
  EXPECT_EQ(wait(*one.shim, {one.id, "e3"})->code, 143u);
}

TEST_F(ShimTest, OrphansAreReapedAndNoZombieIsLeft) {
  // With the host's pid namespace the container's orphans become the shim's.
  auto exit = [&] {
    Run one = run({"sh", "-c", "for i in $(busybox seq 50); do (sleep 0.01 &); done; sleep 0.3"},
                  {}, [](SpecOptions& options) { options.host_pid = true; });
    EXPECT_TRUE(one.pid) << one.pid.error().message();
    auto exit = wait(*one.shim, {one.id, ""});
    int shim_pid = 0;
    std::ifstream(manager_->bundle(context_, one.id).shim_pid()) >> shim_pid;
    EXPECT_GT(shim_pid, 0);
    std::string children =
        sys::read_file(fmt::format("/proc/{0}/task/{0}/children", shim_pid)).value_or("");
    EXPECT_EQ(children, "");
    return exit;
  }();
  EXPECT_EQ(exit->code, 0u);
}

TEST_F(ShimTest, AnOomKillIsKnownWithTheExit) {
  auto exit = run_to_end({"sh", "-c", "dd if=/dev/zero of=/dev/null bs=200M count=1"}, nullptr,
                         [](SpecOptions& options) { options.memory_bytes = 16 << 20; });
  ASSERT_TRUE(exit) << exit.error().message();
  EXPECT_TRUE(exit->oom_killed());
  EXPECT_EQ(exit->code, 137u);
}

TEST_F(ShimTest, ItOutlivesItsClientAndIsFoundAgain) {
  Run one = run({"sh", "-c", "sleep 0.2; exit 9"});
  ASSERT_TRUE(one.pid) << one.pid.error().message();
  one.shim.reset();
  EXPECT_THAT(*manager_->list(context_), testing::ElementsAre(one.id));
  auto again = manager_->adopt(context_, one.id);
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(wait(**again, {one.id, ""})->code, 9u);
  EXPECT_EQ(manager_->launch(context_, one.id).error().code(), Code::kAlreadyExists);
  EXPECT_EQ(manager_->adopt(context_, "t-unknown").error().code(), Code::kNotFound);
}

TEST_F(ShimTest, WhatADeadShimLeftIsCleared) {
  Run one = run({"sleep", "1000"});
  ASSERT_TRUE(one.pid) << one.pid.error().message();
  int shim_pid = 0;
  std::ifstream(manager_->bundle(context_, one.id).shim_pid()) >> shim_pid;
  auto container = sys::open_pidfd(static_cast<int>(*one.pid));
  ASSERT_TRUE(container);
  ASSERT_EQ(::kill(shim_pid, SIGKILL), 0);
  EXPECT_EQ(wait(*one.shim, {one.id, ""}).error().code(), Code::kUnavailable);
  EXPECT_EQ(manager_->adopt(context_, one.id).error().code(), Code::kNotFound);
  ASSERT_TRUE(manager_->clean(context_, one.id));
  EXPECT_TRUE(sys::wait_process(Context().with_timeout(10s), *container));
}

TEST_F(ShimTest, AShimWithNothingToDoLeaves) {
  std::string id = "t-" + random_id(6);
  ids_.push_back(id);
  auto shim = manager_->launch(context_, id);
  ASSERT_TRUE(shim);
  // A first answer shows that it serves; before that there is nobody who could leave.
  ASSERT_FALSE((*shim)->state(context_, {id, ""}));
  int pid = 0;
  std::ifstream(manager_->bundle(context_, id).shim_pid()) >> pid;
  auto process = sys::open_pidfd(pid);
  ASSERT_TRUE(process);
  shim->reset();
  EXPECT_TRUE(sys::wait_process(Context().with_timeout(10s), *process));
}

TEST_F(ShimTest, ItLivesInASessionOfItsOwnAndStaysSmall) {
  Run one = run({"sleep", "1000"});
  ASSERT_TRUE(one.pid) << one.pid.error().message();
  int pid = 0;
  std::ifstream(manager_->bundle(context_, one.id).shim_pid()) >> pid;
  EXPECT_EQ(::getsid(pid), pid);
  std::string smaps = sys::read_file(fmt::format("/proc/{}/smaps_rollup", pid)).value_or("");
  size_t at = smaps.find("\nPss_Anon:");
  ASSERT_NE(at, std::string::npos);
  RecordProperty("pss_anon_kb", std::atoi(smaps.c_str() + at + 10));
  RecordProperty("pss_kb", std::atoi(smaps.c_str() + smaps.find("\nPss:") + 5));
}

}  // namespace
}  // namespace skiff::runtime
