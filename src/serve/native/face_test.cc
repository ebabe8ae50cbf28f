// The face between a real ttrpc client and server, over an image service and an engine that the
// test plays.
#include <csignal>
#include <future>
#include <thread>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/finding.h"
#include "engine/engine.h"
#include "engine/fsck.h"
#include "image/image_service.h"
#include "metadata/gc.h"
#include "serve/native/api.h"
#include "serve/native/native.h"
#include "sys/event_loop.h"
#include "sys/socket.h"
#include "tests/lib/temp_dir.h"
#include "ttrpc/client.h"
#include "ttrpc/server.h"

namespace skiff::native {
namespace {

using ::testing::_;
using ::testing::HasSubstr;
using ::testing::Return;

const Digest kDigest = Digest::from_hex(DigestAlgorithm::kSha256, std::string(64, 'a'));

class MockImages : public image::ImageService {
 public:
  MOCK_METHOD(Result<image::PullResult>, pull,
              (const Context&, const oci::Reference&, const image::PullOptions&,
               const image::ProgressFn&),
              (override));
  MOCK_METHOD(Status, push,
              (const Context&, const std::string&, const oci::Reference&, const image::PushOptions&,
               const image::ProgressFn&),
              (override));
  MOCK_METHOD(Result<std::vector<image::ImageSummary>>, list,
              (const Context&, const std::vector<std::string>&), (override));
  MOCK_METHOD(Result<image::Image>, find, (const Context&, const std::string&), (override));
  MOCK_METHOD(Result<image::ImageDetails>, inspect,
              (const Context&, const std::string&, const oci::Platform&), (override));
  MOCK_METHOD(Result<image::Image>, tag,
              (const Context&, const std::string&, const oci::Reference&), (override));
  MOCK_METHOD(Result<image::Removed>, remove, (const Context&, const std::string&), (override));
  MOCK_METHOD(Result<Digest>, unpack,
              (const Context&, const std::string&, const std::string&, const oci::Platform&),
              (override));
  MOCK_METHOD(Status, export_archive,
              (const Context&, const std::vector<std::string>&, image::ArchiveFormat,
               const oci::Platform&, ByteSink&),
              (override));
  MOCK_METHOD(Result<std::vector<image::Image>>, import_archive,
              (const Context&, ByteSource&, const image::ImportOptions&, const image::ProgressFn&),
              (override));
  MOCK_METHOD(Status, recover, (const Context&), (override));
};

class MockEngine : public engine::Engine {
 public:
  MOCK_METHOD(Result<engine::ContainerInfo>, create_container,
              (const Context&, const engine::ContainerSpec&), (override));
  MOCK_METHOD(Result<engine::ContainerInfo>, start,
              (const Context&, const std::string&, engine::Stdio, engine::TerminalSize),
              (override));
  MOCK_METHOD(Result<engine::ContainerInfo>, run,
              (const Context&, const engine::ContainerSpec&, engine::Stdio, engine::TerminalSize),
              (override));
  MOCK_METHOD(Result<engine::ExitStatus>, wait, (const Context&, const std::string&), (override));
  MOCK_METHOD(std::function<void()>, when_exited, (const Context&, const std::string&, ExitFn),
              (override));
  MOCK_METHOD(Status, kill, (const Context&, const std::string&, int, bool), (override));
  MOCK_METHOD(Status, resize, (const Context&, const std::string&, engine::TerminalSize),
              (override));
  MOCK_METHOD(Status, close_stdin, (const Context&, const std::string&), (override));
  MOCK_METHOD(Status, remove, (const Context&, const std::string&, bool), (override));
  MOCK_METHOD(Result<engine::ContainerInfo>, get, (const Context&, const std::string&), (override));
  MOCK_METHOD(Result<std::vector<engine::ContainerInfo>>, list, (const Context&, bool), (override));
  MOCK_METHOD(Status, recover, (const Context&), (override));
};

class FaceTest : public ::testing::Test {
 protected:
  FaceTest() : loop_(*sys::EventLoop::create()), thread_([this] { loop_->run(); }) {
    server_ = std::make_unique<ttrpc::Server>(loop_, ttrpc::Server::Options{});
    Parts parts{.images = images_, .engine = engine_, .store = *store_};
    parts.about = {.version = "1.2.3", .root = folder_.path().string()};
    parts.collect = [](const Context&) -> Result<metadata::GcStats> {
      metadata::GcStats stats;
      stats.blobs = 3;
      return stats;
    };
    parts.removed = [this] { ++removed_; };
    parts.fsck = [](const Context&, bool deep) -> Result<engine::FsckReport> {
      engine::FsckReport report;
      report.findings.push_back({"blob-missing", "sha256:x", deep ? "deep" : "shallow"});
      return report;
    };
    parts.login = [](const Context&, const std::string& host,
                     const registry::Access& access) -> Status {
      auto credentials = SKIFF_TRY(access.credentials->get(host));
      if (credentials->password != "right")
        return fail(Code::kUnauthenticated, "{} refuses {}", host, credentials->username);
      return ok();
    };
    face_ = add_services(*server_, std::move(parts));
    EXPECT_TRUE(server_->serve(*sys::listen_unix(folder_ / "sock", 0600)));
    client_ = *ttrpc::Client::connect(folder_ / "sock");
  }
  ~FaceTest() override {
    client_.reset();
    server_.reset();
    face_.reset();
    loop_->stop();
    thread_.join();
  }

  template <class Response, class Request>
  Result<Response> call(const char* service, const char* method, const Request& request,
                        std::vector<sys::UniqueFd> fds = {}) {
    return client_->call<Response>(context_, service, method, request, std::move(fds));
  }
  template <class Event, class Request>
  Result<std::vector<Event>> stream(const char* service, const char* method, const Request& request,
                                    std::vector<sys::UniqueFd> fds = {}) {
    auto events = SKIFF_TRY(
        client_->stream(context_, service, method, ttrpc::encode(request), std::move(fds)));
    std::vector<Event> out;
    while (auto message = SKIFF_TRY(events->next()))
      out.push_back(SKIFF_TRY(ttrpc::decode<Event>(*message)));
    return out;
  }
  std::vector<sys::UniqueFd> fds(int count) {
    std::vector<sys::UniqueFd> out;
    for (int i = 0; i < count; ++i) out.push_back(*sys::open_file("/dev/null", O_RDWR));
    return out;
  }

  skiff::testing::TempDir folder_;
  ::testing::NiceMock<MockImages> images_;
  ::testing::NiceMock<MockEngine> engine_;
  std::unique_ptr<metadata::Store> store_ = *metadata::Store::open(folder_ / "metadata.db", {});
  std::atomic<int> removed_ = 0;
  Context context_ = Context().with_namespace("k8s.io").with_timeout(std::chrono::seconds(60));
  std::shared_ptr<sys::EventLoop> loop_;
  std::thread thread_;
  std::unique_ptr<ttrpc::Server> server_;
  std::unique_ptr<Face> face_;
  std::shared_ptr<ttrpc::Client> client_;
};

TEST_F(FaceTest, PullSendsProgressAndThenItsResult) {
  EXPECT_CALL(images_, pull)
      .WillOnce([](const Context& context, const oci::Reference& reference,
                   const image::PullOptions& options,
                   const image::ProgressFn& progress) -> Result<image::PullResult> {
        EXPECT_EQ(context.name_space(), "k8s.io");
        EXPECT_EQ(reference.str(), "docker.io/library/redis:7");
        EXPECT_EQ(options.platform.str(), "linux/arm64/v8");
        EXPECT_FALSE(options.unpack);
        EXPECT_TRUE(options.access.plain_http);
        EXPECT_EQ(options.access.credentials->get("docker.io").value()->password, "secret");
        EXPECT_EQ(options.access.credentials->get("mirror.io").value(), std::nullopt);
        progress({"fetching", {{"sha256:1", image::LayerState::kUnpacking, 5, 9}}});
        image::PullResult result;
        result.image.name = reference.str();
        result.image.digest = kDigest;
        result.image.target = R"({"mediaType": "m"})";
        result.fetched_bytes = 9;
        return result;
      });
  PullRequest request;
  request.reference = "redis:7";
  request.platform = "arm64";
  request.no_unpack = true;
  request.access.plain_http = true;
  request.access.credentials.push_back({"docker.io", "me", "secret", "", ""});
  auto events = stream<PullEvent>(kImagesService, "Pull", request);
  ASSERT_TRUE(events) << events.error().message();
  ASSERT_EQ(events->size(), 2u);
  EXPECT_EQ(events->at(0).progress->layers.at(0).state, LayerState::kUnpacking);
  EXPECT_EQ(events->at(1).result->image.media_type, "m");
  EXPECT_EQ(events->at(1).result->fetched_bytes, 9u);
}

TEST_F(FaceTest, ErrorsSayWhatFailedAndKeepTheirCode) {
  EXPECT_CALL(images_, pull).WillOnce(Return(fail(Code::kPermissionDenied, "denied")));
  PullRequest request;
  request.reference = "redis";
  auto events = stream<PullEvent>(kImagesService, "Pull", request);
  ASSERT_FALSE(events);
  EXPECT_EQ(events.error().code(), Code::kPermissionDenied);
  EXPECT_EQ(events.error().message(), "pull redis:latest: denied");
  request.reference = "Redis";
  EXPECT_EQ(stream<PullEvent>(kImagesService, "Pull", request).error().code(),
            Code::kInvalidArgument);
  request = {"redis", "no/such/platform/x"};
  EXPECT_EQ(stream<PullEvent>(kImagesService, "Pull", request).error().code(),
            Code::kInvalidArgument);
}

TEST_F(FaceTest, ADigestIsNoName) {
  EXPECT_CALL(images_, tag).Times(0);
  auto response =
      call<TagImageResponse>(kImagesService, "Tag", TagImageRequest{"redis", "x@" + kDigest.str()});
  EXPECT_EQ(response.error().code(), Code::kInvalidArgument);
}

TEST_F(FaceTest, OnlyTheLastNameMakesGarbage) {
  EXPECT_CALL(images_, remove)
      .WillOnce(Return(image::Removed{"a", false}))
      .WillOnce(Return(image::Removed{"b", true}));
  EXPECT_FALSE(call<RemoveImageResponse>(kImagesService, "Remove", RemoveImageRequest{"a"})->last);
  EXPECT_EQ(removed_, 0);
  EXPECT_TRUE(call<RemoveImageResponse>(kImagesService, "Remove", RemoveImageRequest{"b"})->last);
  EXPECT_EQ(removed_, 1);
}

TEST_F(FaceTest, ArchivesUseTheDescriptorThatCame) {
  EXPECT_CALL(images_, export_archive)
      .WillOnce([](const Context&, const std::vector<std::string>& names,
                   image::ArchiveFormat format, const oci::Platform&, ByteSink& sink) {
        EXPECT_EQ(names, std::vector<std::string>{"redis"});
        EXPECT_EQ(format, image::ArchiveFormat::kOciLayout);
        return sink.write(as_bytes("archive"));
      });
  std::string file = folder_ / "out.tar";
  std::vector<sys::UniqueFd> out;
  out.push_back(*sys::open_file(file, O_WRONLY | O_CREAT));
  SaveImagesRequest save{{"redis"}, ArchiveFormat::kOci, ""};
  auto saved = call<SaveImagesResponse>(kImagesService, "Save", save, std::move(out));
  ASSERT_TRUE(saved) << saved.error().message();
  EXPECT_EQ(saved->bytes, 7u);
  EXPECT_EQ(*sys::read_file(file), "archive");
  EXPECT_EQ(call<SaveImagesResponse>(kImagesService, "Save", save).error().code(),
            Code::kInvalidArgument);

  EXPECT_CALL(images_, import_archive)
      .WillOnce([](const Context&, ByteSource& source, const image::ImportOptions& options,
                   const image::ProgressFn&) -> Result<std::vector<image::Image>> {
        EXPECT_EQ(options.name, "named");
        image::Image image;
        image.name = SKIFF_TRY(read_all(source, 100));
        return std::vector{image};
      });
  std::vector<sys::UniqueFd> in;
  in.push_back(*sys::open_file(file, O_RDONLY));
  auto loaded = stream<LoadImagesEvent>(kImagesService, "Load",
                                        LoadImagesRequest{"named", "", "", false}, std::move(in));
  ASSERT_TRUE(loaded) << loaded.error().message();
  EXPECT_EQ(loaded->back().result->images.at(0).name, "archive");
}

TEST_F(FaceTest, RunTellsOfTheStartAndTheExit) {
  std::promise<engine::Engine::ExitFn> waiting;
  EXPECT_CALL(engine_, run)
      .WillOnce([](const Context&, const engine::ContainerSpec& spec, engine::Stdio stdio,
                   engine::TerminalSize size) -> Result<engine::ContainerInfo> {
        EXPECT_EQ(spec.entrypoint, std::vector<std::string>{"/e"});
        EXPECT_EQ(spec.mounts.at(0).type, engine::MountType::kTmpfs);
        EXPECT_TRUE(stdio.in && stdio.out && stdio.err);
        EXPECT_EQ(size.rows, 30u);
        engine::ContainerInfo info;
        info.id = spec.id;
        info.pid = 77;
        info.phase = engine::Phase::kRunning;
        return info;
      });
  EXPECT_CALL(engine_, when_exited(_, "abc", _))
      .WillOnce([&](const Context&, const std::string&, engine::Engine::ExitFn done) {
        waiting.set_value(std::move(done));
        return [] {};
      });
  RunRequest request;
  request.spec.id = "abc";
  request.spec.entrypoint = StringList{{"/e"}};
  request.spec.mounts.push_back({MountType::kTmpfs, "", "/t", false, {}});
  request.size = {30, 100};
  auto events =
      *client_->stream(context_, kContainersService, "Run", ttrpc::encode(request), fds(3));
  auto started = ttrpc::decode<RunEvent>(*events->next().value());
  EXPECT_EQ(started->started->pid, 77);
  EXPECT_FALSE(started->exited);
  waiting.get_future().get()(engine::ExitStatus{137, true, 5, ""});
  auto exited = ttrpc::decode<RunEvent>(*events->next().value());
  EXPECT_EQ(exited->exited->code, 137);
  EXPECT_TRUE(exited->exited->oom_killed);
  EXPECT_EQ(events->next().value(), std::nullopt);
}

TEST_F(FaceTest, ACommandThatCannotRunHasItsExitAtOnce) {
  EXPECT_CALL(engine_, run)
      .WillOnce(
          [](auto&, auto&, engine::Stdio, engine::TerminalSize) -> Result<engine::ContainerInfo> {
            engine::ContainerInfo info;
            info.phase = engine::Phase::kExited;
            info.exit = engine::ExitStatus{127, false, 5, "no such file"};
            return info;
          });
  EXPECT_CALL(engine_, when_exited).Times(0);
  auto events = stream<RunEvent>(kContainersService, "Run", RunRequest{}, fds(3));
  ASSERT_TRUE(events) << events.error().message();
  EXPECT_EQ(events->back().exited->code, 127);
  EXPECT_EQ(events->back().exited->error, "no such file");
}

TEST_F(FaceTest, RunNeedsItsThreeDescriptors) {
  EXPECT_CALL(engine_, run).Times(0);
  auto events = stream<RunEvent>(kContainersService, "Run", RunRequest{}, fds(2));
  ASSERT_FALSE(events);
  EXPECT_THAT(events.error().message(), HasSubstr("expected 3 file descriptors"));
}

TEST_F(FaceTest, ACallerThatGoesTakesItsWaitAlong) {
  std::promise<void> waiting, taken_back;
  engine::Engine::ExitFn kept;
  EXPECT_CALL(engine_, when_exited(_, "abc", _))
      .WillOnce([&](const Context&, const std::string&,
                    engine::Engine::ExitFn done) -> std::function<void()> {
        kept = std::move(done);
        waiting.set_value();
        return [&] { taken_back.set_value(); };
      });
  auto other = *ttrpc::Client::connect(folder_ / "sock");
  auto cancel = other->call_async(context_, kContainersService, "Wait",
                                  ttrpc::encode(WaitRequest{"abc"}), [](Result<ttrpc::Reply>) {});
  waiting.get_future().get();
  other.reset();
  EXPECT_EQ(taken_back.get_future().wait_for(std::chrono::seconds(30)), std::future_status::ready);
}

TEST_F(FaceTest, AnExitThatIsKnownIsToldAtOnce) {
  EXPECT_CALL(engine_, when_exited)
      .WillOnce([](const Context&, const std::string&, engine::Engine::ExitFn done) {
        done(engine::ExitStatus{3, false, 5, ""});
        return [] {};
      })
      .WillOnce([](const Context&, const std::string& id, engine::Engine::ExitFn done) {
        done(fail(Code::kNotFound, "no container \"{}\"", id));
        return [] {};
      });
  EXPECT_EQ(call<Exited>(kContainersService, "Wait", WaitRequest{"abc"})->code, 3);
  EXPECT_EQ(call<Exited>(kContainersService, "Wait", WaitRequest{"abc"}).error().code(),
            Code::kNotFound);
}

TEST_F(FaceTest, ControlsReachTheEngine) {
  EXPECT_CALL(engine_, kill(_, "abc", SIGTERM, true)).WillOnce(Return(ok()));
  EXPECT_CALL(engine_, remove(_, "abc", true))
      .WillOnce(Return(fail(Code::kFailedPrecondition, "it runs")));
  EXPECT_TRUE(call<Empty>(kContainersService, "Kill", KillRequest{"abc", SIGTERM, true}));
  EXPECT_EQ(call<Empty>(kContainersService, "Remove", RemoveContainerRequest{"abc", true})
                .error()
                .message(),
            "it runs");
}

TEST_F(FaceTest, TheDaemonAnswersForItself) {
  EXPECT_EQ(call<VersionResponse>(kSystemService, "Version", Empty{})->version, "1.2.3");
  EXPECT_EQ(call<InfoResponse>(kSystemService, "Info", Empty{})->pid, getpid());
  EXPECT_GT(call<DfResponse>(kSystemService, "DiskUsage", Empty{})->free_bytes, 0u);
  EXPECT_EQ(call<GcResponse>(kSystemService, "Collect", Empty{})->blobs, 3u);
  EXPECT_EQ(call<FsckResponse>(kSystemService, "Check", FsckRequest{true})->findings.at(0).detail,
            "deep");
  LoginRequest login{{"x.io", "me", "right", "", ""}, false, false};
  EXPECT_TRUE(call<Empty>(kSystemService, "Login", login));
  login.credential.password = "wrong";
  auto refused = call<Empty>(kSystemService, "Login", login);
  EXPECT_EQ(refused.error().code(), Code::kUnauthenticated);
  EXPECT_EQ(refused.error().message(), "log in to x.io: x.io refuses me");
}

TEST_F(FaceTest, LeasesAreListedAndRemoved) {
  const CrashPoint point("native.test.lease");
  EXPECT_TRUE(store_->write(
      Context(), point, metadata::Durability::kDurable, [](metadata::Transaction& txn) -> Status {
        SKIFF_TRY(metadata::namespaces::ensure(txn, "k8s.io"));
        SKIFF_TRY(metadata::leases::create(txn, "k8s.io", {"l1", {{"k", "v"}}, 5}));
        return metadata::leases::add_resource(txn, "k8s.io", "l1", {"content", kDigest.str()});
      }));
  auto listed = call<ListLeasesResponse>(kSystemService, "ListLeases", ListLeasesRequest{});
  ASSERT_EQ(listed->leases.size(), 1u);
  EXPECT_EQ(listed->leases[0].id, "l1");
  EXPECT_EQ(listed->leases[0].labels.at("k"), "v");
  EXPECT_EQ(listed->leases[0].resources.at(0).id, kDigest.str());
  EXPECT_TRUE(call<Empty>(kSystemService, "RemoveLease", RemoveLeaseRequest{"l1"}));
  EXPECT_EQ(removed_, 1);
  EXPECT_EQ(call<Empty>(kSystemService, "RemoveLease", RemoveLeaseRequest{"l1"}).error().code(),
            Code::kNotFound);
}

}  // namespace
}  // namespace skiff::native
