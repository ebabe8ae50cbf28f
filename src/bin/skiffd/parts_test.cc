#include <atomic>
#include <thread>

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/metrics/metrics.h"
#include "bin/skiffd/default_credentials.h"
#include "bin/skiffd/gc_scheduler.h"
#include "bin/skiffd/instance_lock.h"
#include "bin/skiffd/metrics_server.h"
#include "sys/socket.h"

namespace skiff::daemon {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;
using namespace std::chrono_literals;

TEST(InstanceLock, ASecondDaemonIsToldWhoHoldsTheFolder) {
  sys::TempDir dir;
  auto first = lock_folder(dir.path());
  ASSERT_TRUE(first);
  auto second = lock_folder(dir.path());
  ASSERT_FALSE(second);
  EXPECT_TRUE(second.error().is(Code::kFailedPrecondition));
  EXPECT_THAT(second.error().message(),
              AllOf(HasSubstr(dir.path().string()), HasSubstr(fmt::format("pid {}", getpid()))));
  first->reset();
  EXPECT_TRUE(lock_folder(dir.path()));
}

std::string ask(sys::UniqueFd socket, std::string_view request) {
  std::string reply;
  EXPECT_TRUE(sys::write_fd(socket.get(), as_bytes(request)));
  char buffer[4096];
  pollfd ready{socket.get(), POLLIN, 0};
  while (poll(&ready, 1, 5000) == 1) {
    ssize_t got = recv(socket.get(), buffer, sizeof buffer, 0);
    if (got <= 0) break;
    reply.append(buffer, static_cast<size_t>(got));
  }
  return reply;
}

TEST(MetricsServer, AnswersOverUnixAndTcp) {
  metrics::counter("skiff_test_total", "A test's count.").increment(3);
  sys::TempDir dir;
  std::string path = dir.path() / "m.sock";
  auto server = MetricsServer::start(path);
  ASSERT_TRUE(server) << server.error().message();
  EXPECT_THAT(ask(*sys::connect_unix(path), "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"),
              AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("skiff_test_total 3")));
  EXPECT_THAT(ask(*sys::connect_unix(path), "GET / HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(ask(*sys::connect_unix(path), "POST /metrics HTTP/1.1\r\n\r\n"),
              StartsWith("HTTP/1.1 405"));

  auto tcp = MetricsServer::start("127.0.0.1:0");
  ASSERT_TRUE(tcp) << tcp.error().message();
  EXPECT_THAT((*tcp)->address(), testing::Not(HasSubstr(":0")));
}

TEST(MetricsServer, ABadAddressIsRefused) {
  EXPECT_FALSE(MetricsServer::start("nowhere"));
  EXPECT_FALSE(MetricsServer::start("example.invalid:80"));
  EXPECT_FALSE(MetricsServer::start("/nonexistent/dir/m.sock"));
}

TEST(GcScheduler, RemovalsInARowAreOneCollection) {
  std::atomic<int> runs{0};
  GcScheduler gc({.startup_delay = 1h, .delay = 30ms, .interval = 0ms},
                 [&](GcScheduler::Work, std::stop_token) {
                   runs++;
                   runs.notify_all();
                 });
  for (int i = 0; i < 100; i++) gc.removed();
  runs.wait(0);
  EXPECT_EQ(runs, 1);
  gc.removed();
  runs.wait(1);
  EXPECT_EQ(runs, 2);
}

TEST(GcScheduler, RunsAfterTheStartAndAtIntervals) {
  std::atomic<int> runs{0};
  GcScheduler gc({.startup_delay = 1ms, .delay = 1h, .interval = 1ms},
                 [&](GcScheduler::Work, std::stop_token) {
                   runs++;
                   runs.notify_all();
                 });
  for (int seen = 0; seen < 3; seen = runs) runs.wait(seen);
}

TEST(GcScheduler, FilesThatWereLeftAreSweptWithoutACollection) {
  std::atomic<int> sweeps{0}, collections{0};
  GcScheduler gc({.startup_delay = 1h, .delay = 5ms, .interval = 0ms},
                 [&](GcScheduler::Work work, std::stop_token) {
                   auto& count = work == GcScheduler::Work::kSweep ? sweeps : collections;
                   count++;
                   count.notify_all();
                 });
  gc.left_files();
  sweeps.wait(0);
  EXPECT_EQ(collections, 0);
  gc.removed();
  collections.wait(0);
  EXPECT_EQ(sweeps, 1);
}

TEST(GcScheduler, StopsWhileACollectionRuns) {
  std::atomic<bool> began{false};
  {
    GcScheduler gc({.startup_delay = 0ms, .delay = 1h, .interval = 1h},
                   [&](GcScheduler::Work, std::stop_token stop) {
                     began = true;
                     began.notify_all();
                     while (!stop.stop_requested()) std::this_thread::yield();
                   });
    began.wait(false);
  }
}

TEST(DefaultCredentials, TheRequestsOwnComeFirst) {
  sys::TempDir dir;
  sys::Path file = dir.path() / "config.json";
  // "robot:secret"
  ASSERT_TRUE(sys::write_file(file, R"({"auths": {"r.example": {"auth": "cm9ib3Q6c2VjcmV0"}}})"));
  auto mine = registry::fixed_credentials("r.example", {.username = "me", .password = "p"});
  EXPECT_EQ((*with_file(mine, file)->get("r.example"))->username, "me");
  EXPECT_EQ((*with_file(nullptr, file)->get("r.example"))->username, "robot");
  EXPECT_EQ((*with_file(nullptr, file)->get("r.example"))->password, "secret");
  EXPECT_FALSE(*with_file(mine, file)->get("other.example"));
}

}  // namespace
}  // namespace skiff::daemon
