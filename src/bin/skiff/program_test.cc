// The program itself against a daemon that this test plays: exit statuses, signals, terminals, what
// travels with a request.
#include <condition_variable>
#include <csignal>
#include <future>
#include <thread>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <sys/ioctl.h>

#include "base/guarded.h"
#include "serve/native/api.h"
#include "sys/event_loop.h"
#include "sys/process.h"
#include "sys/socket.h"
#include "tests/lib/temp_dir.h"
#include "ttrpc/server.h"

namespace skiff::cli {
namespace {

using namespace native;
using ::testing::HasSubstr;
using CallPtr = std::shared_ptr<ttrpc::Call>;

class FakeDaemon {
 public:
  explicit FakeDaemon(std::string path) : path_(std::move(path)) {
    loop_ = *sys::EventLoop::create();
    thread_ = std::thread([this] { loop_->run(); });
    start();
  }
  ~FakeDaemon() {
    stop();
    loop_->stop();
    thread_.join();
  }
  void start() {
    server_ = std::make_unique<ttrpc::Server>(loop_, ttrpc::Server::Options{});
    server_->add(images_service());
    server_->add(containers_service());
    server_->add(system_service());
    EXPECT_TRUE(server_->serve(*sys::listen_unix(path_, 0600)));
  }
  void stop() {
    CallPtr running = std::exchange(state_.lock()->running, nullptr);
    if (running) running->reply(fail(Code::kUnavailable, "the daemon stops"));
    running.reset();
    server_.reset();
  }

  // What a test sets before, and looks at after.
  std::function<void(CallPtr, const RunRequest&, std::vector<sys::UniqueFd>)> on_run;
  std::function<void(CallPtr)> on_wait;
  struct State {
    bool image_here = true;
    std::vector<PullRequest> pulls;
    std::vector<int> signals;
    std::vector<TerminalSize> sizes;
    CallPtr running;
    std::vector<LoginRequest> logins;
    int runs = 0;
  };
  Guarded<State> state_;
  std::condition_variable_any changed_;

  template <class Ready>
  bool wait_for(Ready ready) {
    auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    auto state = state_.lock();
    return state.wait_until(changed_, std::stop_token(), until, [&] { return ready(*state); });
  }
  static void send_started(const CallPtr& call, const std::string& id) {
    RunEvent event;
    event.started = Started{id, 7};
    EXPECT_TRUE(call->send(ttrpc::encode(event)));
  }
  static void send_exited(const CallPtr& call, int code, const std::string& error = "") {
    RunEvent event;
    event.exited = Exited{code, false, 1, error};
    static_cast<void>(call->send(ttrpc::encode(event)));
    call->reply(std::string());
  }

 private:
  ttrpc::Service images_service() {
    ttrpc::Service service(kImagesService);
    service.unary<InspectImageRequest>(
        "Inspect",
        [this](const Context&, const InspectImageRequest& request) -> Result<InspectImageResponse> {
          if (!state_.lock()->image_here) return fail(Code::kNotFound, "no image {}", request.name);
          return InspectImageResponse{};
        });
    service.stream("Pull", [this](ttrpc::Call& call) -> Status {
      auto request = SKIFF_TRY(ttrpc::decode<PullRequest>(call.payload()));
      if (request.reference == "refused") return fail(Code::kPermissionDenied, "pull refused: no");
      auto state = state_.lock();
      state->pulls.push_back(request);
      state->image_here = true;
      state.unlock();
      PullEvent event;
      event.result.emplace();
      event.result->image.name = "docker.io/library/" + request.reference + ":latest";
      event.result->image.digest = "sha256:" + std::string(64, 'd');
      event.result->fetched_bytes = 71'400'000;
      event.result->layers = 6;
      event.result->layers_present = 2;
      if (request.trace) event.result->trace = "{\"traceEvents\":[]}";
      return call.send(ttrpc::encode(event));
    });
    service.raw("Save", [](ttrpc::Call& call) -> Result<std::string> {
      auto fds = call.take_fds();
      auto request = SKIFF_TRY(ttrpc::decode<SaveImagesRequest>(call.payload()));
      if (request.names.front() == "missing") return fail(Code::kNotFound, "no image missing");
      SKIFF_TRY(sys::write_fd(fds.at(0).get(), as_bytes("archive")));
      return ttrpc::encode(SaveImagesResponse{7});
    });
    service.stream("Load", [](ttrpc::Call& call) -> Status {
      auto fds = call.take_fds();
      LoadImagesEvent event;
      event.result.emplace();
      Image image;
      image.name = SKIFF_TRY(sys::read_fd(fds.at(0).get()));
      event.result->images.push_back(image);
      return call.send(ttrpc::encode(event));
    });
    return service;
  }
  ttrpc::Service containers_service() {
    ttrpc::Service service(kContainersService);
    service.deferred("Run", [this](CallPtr call) {
      auto request = *ttrpc::decode<RunRequest>(call->payload());
      auto state = state_.lock();
      ++state->runs;
      if (!state->image_here)
        return call->reply(fail(Code::kNotFound, "no image {}", request.spec.image));
      state.unlock();
      on_run(call, request, call->take_fds());
      state_.lock()->running = call;
      changed_.notify_all();
    });
    service.deferred("Wait", [this](CallPtr call) { on_wait(call); });
    service.unary<KillRequest>("Kill",
                               [this](const Context&, KillRequest request) -> Result<Empty> {
                                 auto state = state_.lock();
                                 state->signals.push_back(request.signal);
                                 CallPtr running = state->running;
                                 state.unlock();
                                 changed_.notify_all();
                                 if (request.signal != SIGUSR1)
                                   send_exited(running, 128 + request.signal);
                                 return Empty{};
                               });
    service.unary<ResizeRequest>("Resize",
                                 [this](const Context&, ResizeRequest request) -> Result<Empty> {
                                   state_.lock()->sizes.push_back(request.size);
                                   changed_.notify_all();
                                   return Empty{};
                                 });
    return service;
  }
  ttrpc::Service system_service() {
    ttrpc::Service service(kSystemService);
    service.unary<LoginRequest>(
        "Login", [this](const Context&, LoginRequest request) -> Result<Empty> {
          if (request.credential.password == "wrong")
            return fail(Code::kUnauthenticated, "log in to {}: refused", request.credential.host);
          state_.lock()->logins.push_back(request);
          return Empty{};
        });
    return service;
  }

  std::string path_;
  std::shared_ptr<sys::EventLoop> loop_;
  std::thread thread_;
  std::unique_ptr<ttrpc::Server> server_;
};

class ProgramTest : public ::testing::Test {
 protected:
  ProgramTest() : daemon_(folder_ / "sock") {
    daemon_.on_run = [](CallPtr call, const RunRequest&, std::vector<sys::UniqueFd>) {
      FakeDaemon::send_exited(call, 0);
    };
  }

  sys::SpawnOptions options(std::vector<std::string> words) {
    sys::SpawnOptions out;
    out.program = SKIFF_BIN_DIR "/skiff";
    out.args = {"skiff"};
    for (std::string& word : words) out.args.push_back(std::move(word));
    out.env = {"PATH=/usr/bin:/bin", "HOME=" + folder_.path().string(),
               "SKIFF_ADDRESS=" + (folder_ / "sock")};
    return out;
  }
  sys::Output skiff(std::vector<std::string> words, const std::string& input = "") {
    sys::SpawnOptions how = options(std::move(words));
    sys::UniqueFd in = *sys::open_file(folder_.write("stdin", input), O_RDONLY);
    how.fds = {{in.get(), 0}};
    auto output = sys::run_program(Context().with_timeout(std::chrono::seconds(60)), how);
    EXPECT_TRUE(output) << output.error().message();
    return *std::move(output);
  }
  // Starts it and waits until its container runs.
  sys::Child start_run(sys::SpawnOptions how) {
    daemon_.on_run = [](CallPtr call, const RunRequest& request, std::vector<sys::UniqueFd>) {
      FakeDaemon::send_started(call, request.spec.id);
    };
    auto child = sys::spawn(how);
    EXPECT_TRUE(child) << child.error().message();
    EXPECT_TRUE(daemon_.wait_for([](auto& state) { return state.running != nullptr; }));
    return *std::move(child);
  }
  int exit_status(const sys::Child& child) {
    auto exit = sys::wait_child(Context().with_timeout(std::chrono::seconds(60)), child);
    EXPECT_TRUE(exit) << exit.error().message();
    return exit->status();
  }

  skiff::testing::TempDir folder_;
  FakeDaemon daemon_;
};

TEST_F(ProgramTest, RunExitsAsItsCommandDid) {
  for (int code : {0, 1, 42, 126, 127, 137}) {
    daemon_.on_run = [code](CallPtr call, const RunRequest&, std::vector<sys::UniqueFd>) {
      FakeDaemon::send_exited(call, code, code == 127 ? "true: not found" : "");
    };
    sys::Output output = skiff({"run", "--rm", "busybox", "true"});
    EXPECT_EQ(output.exit.status(), code);
    EXPECT_EQ(output.err, code == 127 ? "skiff: run busybox: true: not found\n" : "");
  }
}

TEST_F(ProgramTest, RunExitsWith125WhenTheEngineFails) {
  daemon_.on_run = [](CallPtr call, const RunRequest&, std::vector<sys::UniqueFd>) {
    call->reply(fail(Code::kInternal, "the shim did not start"));
  };
  sys::Output output = skiff({"run", "busybox"});
  EXPECT_EQ(output.exit.status(), 125);
  EXPECT_EQ(output.err, "skiff: run busybox: the shim did not start\n");
  daemon_.stop();
  output = skiff({"run", "busybox"});
  EXPECT_EQ(output.exit.status(), 125);
  EXPECT_THAT(output.err, HasSubstr("cannot reach skiffd at " + (folder_ / "sock")));
  EXPECT_EQ(skiff({"images"}).exit.status(), 1);
}

TEST_F(ProgramTest, TheContainerGetsTheCallersStdio) {
  daemon_.on_run = [](CallPtr call, const RunRequest& request, std::vector<sys::UniqueFd> fds) {
    EXPECT_EQ(fds.size(), 3u);
    std::string in = *sys::read_fd(fds.at(0).get());
    EXPECT_TRUE(sys::write_fd(fds.at(1).get(), as_bytes("out:" + in)));
    EXPECT_TRUE(sys::write_fd(fds.at(2).get(), as_bytes("err")));
    FakeDaemon::send_started(call, request.spec.id);
    FakeDaemon::send_exited(call, 0);
  };
  sys::Output with = skiff({"run", "-i", "busybox", "cat"}, "hello");
  EXPECT_EQ(with.out, "out:hello");
  EXPECT_EQ(with.err, "err");
  EXPECT_EQ(skiff({"run", "busybox", "cat"}, "hello").out, "out:");
}

TEST_F(ProgramTest, AMissingImageIsPulledOnce) {
  daemon_.state_.lock()->image_here = false;
  sys::Output output = skiff({"run", "--rm", "busybox"});
  EXPECT_EQ(output.exit.status(), 0) << output.err;
  EXPECT_EQ(output.out, "");
  EXPECT_EQ(daemon_.state_.lock()->pulls.size(), 1u);
  EXPECT_EQ(daemon_.state_.lock()->runs, 2);

  daemon_.state_.lock()->image_here = false;
  output = skiff({"run", "--pull", "never", "busybox"});
  EXPECT_EQ(output.exit.status(), 125);
  EXPECT_THAT(output.err, HasSubstr("no image busybox"));
  EXPECT_EQ(daemon_.state_.lock()->pulls.size(), 1u);

  EXPECT_EQ(skiff({"run", "--pull", "always", "busybox"}).exit.status(), 0);
  EXPECT_EQ(daemon_.state_.lock()->pulls.size(), 2u);
}

TEST_F(ProgramTest, SignalsReachTheContainer) {
  sys::Child child = start_run(options({"run", "busybox", "sleep", "9"}));
  ASSERT_TRUE(sys::send_signal(child.pidfd, SIGUSR1));
  EXPECT_TRUE(daemon_.wait_for([](auto& state) { return state.signals == std::vector{SIGUSR1}; }));
  ASSERT_TRUE(sys::send_signal(child.pidfd, SIGTERM));
  EXPECT_EQ(exit_status(child), 128 + SIGTERM);
  EXPECT_EQ(daemon_.state_.lock()->signals, (std::vector{SIGUSR1, SIGTERM}));
}

TEST_F(ProgramTest, ASignalBeforeTheStartEndsTheRun) {
  std::promise<void> stopped;
  std::optional<std::stop_callback<std::function<void()>>> on_stop;
  daemon_.on_run = [&](CallPtr call, const RunRequest&, std::vector<sys::UniqueFd>) {
    on_stop.emplace(call->context().stop_token(), [&stopped] { stopped.set_value(); });
  };
  auto child = sys::spawn(options({"run", "busybox"}));
  ASSERT_TRUE(daemon_.wait_for([](auto& state) { return state.running != nullptr; }));
  ASSERT_TRUE(sys::send_signal(child->pidfd, SIGINT));
  EXPECT_EQ(exit_status(*child), 128 + SIGINT);
  EXPECT_EQ(stopped.get_future().wait_for(std::chrono::seconds(30)), std::future_status::ready);
  EXPECT_TRUE(daemon_.state_.lock()->signals.empty());
}

TEST_F(ProgramTest, TheContainersTerminalFollowsTheCallers) {
  int master = -1, slave = -1;
  winsize size{30, 100, 0, 0};
  ASSERT_EQ(openpty(&master, &slave, nullptr, nullptr, &size), 0);
  sys::UniqueFd keep_master(master), keep_slave(slave);
  termios before{}, during{}, after{};
  tcgetattr(slave, &before);
  sys::SpawnOptions how = options({"run", "-it", "busybox", "sh"});
  how.fds = {{slave, 0}, {slave, 1}, {slave, 2}};
  sys::Child child = start_run(how);
  auto has_size = [](uint32_t rows, uint32_t columns) {
    return [=](FakeDaemon::State& state) {
      return !state.sizes.empty() && state.sizes.back().rows == rows &&
             state.sizes.back().columns == columns;
    };
  };
  EXPECT_TRUE(daemon_.wait_for(has_size(30, 100)));
  tcgetattr(slave, &during);
  EXPECT_EQ(during.c_lflag & (ICANON | ECHO | ISIG), 0u);
  size = {40, 120, 0, 0};
  ASSERT_EQ(ioctl(master, TIOCSWINSZ, &size), 0);
  ASSERT_TRUE(sys::send_signal(child.pidfd, SIGWINCH));
  EXPECT_TRUE(daemon_.wait_for(has_size(40, 120)));
  ASSERT_TRUE(sys::send_signal(child.pidfd, SIGTERM));
  EXPECT_EQ(exit_status(child), 128 + SIGTERM);
  tcgetattr(slave, &after);
  EXPECT_EQ(after.c_lflag, before.c_lflag);
}

TEST_F(ProgramTest, ATerminalIsNeededForAnInteractiveOne) {
  sys::Output output = skiff({"run", "-it", "busybox"});
  EXPECT_EQ(output.exit.status(), 125);
  EXPECT_THAT(output.err, HasSubstr("needs a terminal"));
  EXPECT_EQ(daemon_.state_.lock()->runs, 0);
}

TEST_F(ProgramTest, ARunOutlivesTheDaemonsRestart) {
  sys::Child child = start_run(options({"run", "busybox", "sleep", "9"}));
  daemon_.on_wait = [](CallPtr call) { call->reply(ttrpc::encode(Exited{9, false, 1, ""})); };
  daemon_.stop();
  daemon_.start();
  EXPECT_EQ(exit_status(child), 9);
}

TEST_F(ProgramTest, PullsSideBySide) {
  std::string trace = folder_ / "trace.json";
  sys::Output output = skiff({"pull", "--trace", trace, "redis"});
  EXPECT_EQ(output.exit.status(), 0) << output.err;
  EXPECT_THAT(output.out, HasSubstr("redis:latest: 71.4 MB fetched, 6 layers (2 were here) in "));
  EXPECT_EQ(*sys::read_file(trace), "{\"traceEvents\":[]}");
  std::vector<std::string> words = {"pull", "-q"};
  words.insert(words.end(), 20, "redis");
  output = skiff(words);
  EXPECT_EQ(std::ranges::count(output.out, '\n'), 20);
  EXPECT_EQ(daemon_.state_.lock()->pulls.size(), 21u);
}

TEST_F(ProgramTest, OnePullThatFailsLeavesTheOthers) {
  sys::Output output = skiff({"pull", "--json", "--concurrency", "1", "refused", "redis"});
  EXPECT_EQ(output.exit.status(), 1);
  EXPECT_EQ(output.err, "skiff: pull refused: no\n");
  EXPECT_THAT(output.out, HasSubstr("{\"reference\":\"refused\",\"error\":"));
  EXPECT_THAT(output.out, HasSubstr("\"fetched_bytes\":71400000"));
}

TEST_F(ProgramTest, CredentialsGoWithTheRequestThatNeedsThem) {
  folder_.write(
      ".docker/config.json",
      R"({"auths": {"https://index.docker.io/v1/": {"auth": "dTpw"}, "x.io": {"auth": "dTpw"}}})");
  skiff({"pull", "redis", "y.io/app"});
  auto pulls = daemon_.state_.lock()->pulls;
  std::ranges::sort(pulls, {}, &PullRequest::reference);
  ASSERT_EQ(pulls.size(), 2u);
  ASSERT_EQ(pulls[0].access.credentials.size(), 1u);
  EXPECT_EQ(pulls[0].access.credentials[0].host, "docker.io");
  EXPECT_EQ(pulls[0].access.credentials[0].password, "p");
  EXPECT_TRUE(pulls[1].access.credentials.empty());
}

TEST_F(ProgramTest, LoginKeepsWhatTheRegistryAccepted) {
  sys::Output output =
      skiff({"login", "-u", "me", "--password-stdin", "https://x.io/v2/"}, "secret\n");
  EXPECT_EQ(output.exit.status(), 0) << output.err;
  EXPECT_EQ(daemon_.state_.lock()->logins.at(0).credential.host, "x.io");
  EXPECT_EQ(daemon_.state_.lock()->logins.at(0).credential.password, "secret");
  std::string config = *sys::read_file(folder_ / ".docker/config.json");
  EXPECT_THAT(config, HasSubstr("\"x.io\""));
  EXPECT_EQ(skiff({"login", "-u", "me", "--password-stdin", "x.io"}, "wrong").exit.status(), 1);
  EXPECT_EQ(*sys::read_file(folder_ / ".docker/config.json"), config);
  EXPECT_EQ(skiff({"logout", "x.io"}).out, "Removed the credentials for x.io\n");
  EXPECT_EQ(skiff({"logout", "x.io"}).out, "Not logged in to x.io\n");
}

TEST_F(ProgramTest, ArchivesGoThroughTheirOwnDescriptor) {
  EXPECT_EQ(skiff({"save", "redis"}).out, "archive");
  std::string file = folder_ / "redis.tar";
  EXPECT_EQ(skiff({"save", "-o", file, "redis"}).out, file + ": 7 B\n");
  EXPECT_EQ(*sys::read_file(file), "archive");
  EXPECT_EQ(skiff({"save", "-o", file, "missing"}).exit.status(), 1);
  EXPECT_EQ(*sys::read_file(file), "archive") << "a failed save leaves the old file";
  EXPECT_FALSE(sys::path_exists(file + ".partial"));
  EXPECT_EQ(skiff({"load"}, "docker.io/library/redis:7").out, "loaded redis:7\n");
}

TEST_F(ProgramTest, ItsOwnVersionNeedsNoDaemon) {
  daemon_.stop();
  EXPECT_EQ(skiff({"version", "--client"}).exit.status(), 0);
  EXPECT_EQ(skiff({"version"}).exit.status(), 1);
}

}  // namespace
}  // namespace skiff::cli
