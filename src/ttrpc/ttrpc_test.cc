#include <atomic>
#include <future>
#include <thread>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "sys/event_loop.h"
#include "sys/file.h"
#include "sys/socket.h"
#include "ttrpc/client.h"
#include "ttrpc/frame.h"
#include "ttrpc/server.h"

namespace skiff::ttrpc {
namespace {

using namespace std::chrono_literals;

struct Text {
  std::string text;
  template <class V>
  void fields(V& v) {
    v(1, text);
  }
};

constexpr char kEcho[] = "test.Echo";

class TtrpcTest : public testing::Test {
 protected:
  TtrpcTest() : loop_(*sys::EventLoop::create()), thread_([this] { loop_->run(); }) {
    server_ = std::make_unique<Server>(loop_, Server::Options{});
    server_->add(make_service());
    auto listener = sys::listen_unix(path_, 0600);
    EXPECT_TRUE(listener) << listener.error().message();
    EXPECT_TRUE(server_->serve(std::move(*listener)));
    client_ = connect();
  }
  ~TtrpcTest() override {
    client_.reset();
    release_.set_value();
    server_.reset();
    loop_->stop();
    thread_.join();
  }

  Service make_service() {
    Service echo(kEcho);
    echo.unary<Text>("Say", [](const Context&, Text in) -> Result<Text> { return in; });
    echo.unary<Text>("Fail", [](const Context&, Text in) -> Result<Text> {
      return fail(Code::kFailedPrecondition, "{} is not possible", in.text);
    });
    echo.unary<Text>("Who", [](const Context& context, Text) -> Result<Text> {
      return Text{fmt::format("{} {} {} {}", context.name_space(), context.lease(),
                              context.trace_id(), context.peer().pid)};
    });
    echo.unary<Text>("Hang", [this](const Context& context, Text) -> Result<Text> {
      hanging_++;
      std::stop_callback stopped(context.stop_token(), [this] { stopped_.set_value(); });
      released_.wait();
      return Text{"released"};
    });
    echo.raw("Cat", [](Call& call) -> Result<std::string> {
      auto fds = call.take_fds();
      if (fds.size() != 1) return fail(Code::kInvalidArgument, "{} descriptors", fds.size());
      auto text = SKIFF_TRY(sys::read_fd(fds[0].get()));
      auto reply = SKIFF_TRY(sys::open_file("/dev/null", O_RDONLY));
      std::vector<sys::UniqueFd> back;
      back.push_back(std::move(reply));
      call.reply(encode(Text{text}), std::move(back));
      return std::string();
    });
    echo.stream("Count", [](Call& call) -> Status {
      auto in = SKIFF_TRY(decode<Text>(call.payload()));
      for (int i = 0; i < std::stoi(in.text); ++i)
        SKIFF_TRY(call.send(encode(Text{std::to_string(i)})));
      return ok();
    });
    echo.stream("Endless", [this](Call& call) -> Status {
      std::string big(100'000, 'x');
      while (true) {
        Status sent = call.send(encode(Text{big}));
        if (!sent) {
          stopped_.set_value();
          return sent;
        }
      }
    });
    echo.deferred("Later", [this](std::shared_ptr<Call> call) { later_.lock()->push_back(call); });
    echo.deferred("Dropped", [](std::shared_ptr<Call>) {});
    echo.unary<Text>("Big", [](const Context&, Text) -> Result<Text> {
      return Text{std::string(kMaxData, 'b')};
    });
    return echo;
  }

  std::shared_ptr<Client> connect() {
    auto client = Client::connect("unix://" + path_);
    EXPECT_TRUE(client) << client.error().message();
    return *client;
  }
  Result<Text> say(const std::string& method, const std::string& text,
                   const Context& context = {}) {
    return client_->call<Text>(context, kEcho, method, Text{text});
  }
  void wait_for_hanging(int count) {
    while (hanging_ < count) std::this_thread::yield();
  }

  sys::TempDir dir_;
  std::string path_ = dir_.path().string() + "/s";
  std::shared_ptr<sys::EventLoop> loop_;
  std::thread thread_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<Client> client_;
  std::atomic<int> hanging_ = 0;
  std::promise<void> release_;
  std::shared_future<void> released_ = release_.get_future().share();
  std::promise<void> stopped_;
  Guarded<std::vector<std::shared_ptr<Call>>> later_;
};

TEST_F(TtrpcTest, AnswersACall) {
  auto reply = say("Say", "hello");
  ASSERT_TRUE(reply) << reply.error().message();
  EXPECT_EQ(reply->text, "hello");
}

TEST_F(TtrpcTest, CarriesErrorsWithCodeAndMessage) {
  auto reply = say("Fail", "this");
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code(), Code::kFailedPrecondition);
  EXPECT_EQ(reply.error().message(), "this is not possible");
}

TEST_F(TtrpcTest, CarriesTheContextAndRecordsThePeer) {
  Context context = Context().with_namespace("k8s.io").with_lease("l1").with_trace_id("t1");
  auto reply = say("Who", "", context);
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->text, fmt::format("k8s.io l1 t1 {}", getpid()));
}

TEST_F(TtrpcTest, UnknownMethodsAndServicesAreUnimplemented) {
  EXPECT_EQ(say("Nope", "").error().code(), Code::kUnimplemented);
  auto reply = client_->call<Text>({}, "test.Nope", "Say", Text{});
  EXPECT_EQ(reply.error().code(), Code::kUnimplemented);
}

TEST_F(TtrpcTest, ManyCallsShareAConnection) {
  std::vector<std::jthread> threads;
  std::atomic<int> good = 0;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        std::string text = std::string(i * 50, 'a') + std::to_string(t * 1000 + i);
        auto reply = say("Say", text);
        if (reply && reply->text == text) good++;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(good, 8 * 200);
}

TEST_F(TtrpcTest, ASlowCallBlocksNoOther) {
  auto slow = std::async(std::launch::async, [&] { return say("Hang", ""); });
  wait_for_hanging(1);
  EXPECT_TRUE(say("Say", "quick"));
  release_.set_value();
  EXPECT_EQ(slow.get()->text, "released");
  release_ = {};
}

TEST_F(TtrpcTest, AMessageOverTheLimitIsRefusedEitherWay) {
  EXPECT_EQ(say("Say", std::string(kMaxData, 'x')).error().code(), Code::kResourceExhausted);
  EXPECT_EQ(say("Big", "").error().code(), Code::kResourceExhausted);
  EXPECT_TRUE(say("Say", std::string(kMaxData - 100, 'x')));
}

TEST_F(TtrpcTest, TheDeadlineEndsACallAndTellsTheServer) {
  auto reply = say("Hang", "", Context().with_timeout(50ms));
  EXPECT_EQ(reply.error().code(), Code::kDeadlineExceeded);
  EXPECT_EQ(stopped_.get_future().wait_for(10s), std::future_status::ready);
}

TEST_F(TtrpcTest, AStoppedContextCancelsTheCall) {
  std::stop_source stop;
  auto call = std::async(std::launch::async,
                         [&] { return say("Hang", "", Context().with_stop(stop.get_token())); });
  wait_for_hanging(1);
  stop.request_stop();
  EXPECT_EQ(call.get().error().code(), Code::kCanceled);
  EXPECT_EQ(stopped_.get_future().wait_for(10s), std::future_status::ready);
}

TEST_F(TtrpcTest, ADroppedConnectionStopsItsCalls) {
  auto other = connect();
  other->call_async({}, kEcho, "Hang", encode(Text{}), [](Result<Reply>) {});
  wait_for_hanging(1);
  other.reset();
  EXPECT_EQ(stopped_.get_future().wait_for(10s), std::future_status::ready);
}

TEST_F(TtrpcTest, CallsFailWhenTheServerGoes) {
  auto call = std::async(std::launch::async, [&] { return say("Later", ""); });
  while (later_.lock()->empty()) std::this_thread::yield();
  server_->shutdown(Context().with_timeout(0ms));
  EXPECT_EQ(call.get().error().code(), Code::kUnavailable);
  EXPECT_TRUE(client_->closed());
  EXPECT_EQ(say("Say", "x").error().code(), Code::kUnavailable);
  EXPECT_FALSE(Client::connect(path_));
}

TEST_F(TtrpcTest, ShutdownWaitsForActiveCalls) {
  auto call = std::async(std::launch::async, [&] { return say("Later", ""); });
  while (later_.lock()->empty()) std::this_thread::yield();
  auto shutdown = std::async(std::launch::async, [&] { server_->shutdown({}); });
  EXPECT_EQ(shutdown.wait_for(20ms), std::future_status::timeout);
  later_.lock()->front()->reply(encode(Text{"last"}));
  later_.lock()->clear();
  shutdown.get();
  auto reply = call.get();
  ASSERT_TRUE(reply) << reply.error().message();
  EXPECT_EQ(reply->text, "last");
}

TEST_F(TtrpcTest, DeferredCallsNeedNoThread) {
  std::atomic<int> done = 0;
  for (int i = 0; i < 500; ++i)
    client_->call_async({}, kEcho, "Later", encode(Text{}),
                        [&](Result<Reply> reply) { done += reply.has_value(); });
  while (later_.lock()->size() < 500) std::this_thread::yield();
  for (auto& call : *later_.lock()) call->reply(encode(Text{"now"}));
  while (done < 500) std::this_thread::yield();
  later_.lock()->clear();
}

TEST_F(TtrpcTest, ADroppedCallAnswersInternal) {
  EXPECT_EQ(say("Dropped", "").error().code(), Code::kInternal);
}

TEST_F(TtrpcTest, TooManyCallsOnAConnectionAreRefused) {
  std::atomic<int> refused = 0, answered = 0;
  for (int i = 0; i < 1100; ++i)
    client_->call_async({}, kEcho, "Later", encode(Text{}), [&](Result<Reply> reply) {
      refused += !reply && reply.error().is(Code::kResourceExhausted);
      ++answered;
    });
  while (refused < 1100 - 1024) std::this_thread::yield();
  later_.lock()->clear();
  while (answered < 1100) std::this_thread::yield();
}

TEST_F(TtrpcTest, DescriptorsTravelBothWays) {
  for (int round = 0; round < 20; ++round) {
    int pipe_fds[2];
    ASSERT_EQ(::pipe(pipe_fds), 0);
    std::vector<sys::UniqueFd> fds;
    fds.emplace_back(pipe_fds[0]);
    sys::UniqueFd writer(pipe_fds[1]);
    ASSERT_TRUE(sys::write_fd(writer.get(), as_bytes("through the pipe")));
    writer.reset();
    client_->call_async({}, kEcho, "Say", encode(Text{std::string(5000, 'n')}), [](auto) {});
    auto reply = client_->call_raw({}, kEcho, "Cat", encode(Text{}), std::move(fds));
    ASSERT_TRUE(reply) << reply.error().message();
    EXPECT_EQ(decode<Text>(reply->payload)->text, "through the pipe");
    ASSERT_EQ(reply->fds.size(), 1u);
    EXPECT_NE(::fcntl(reply->fds[0].get(), F_GETFD) & FD_CLOEXEC, 0);
  }
}

TEST_F(TtrpcTest, StreamsEndWithTheirStatus) {
  auto stream = client_->stream({}, kEcho, "Count", encode(Text{"1000"}));
  ASSERT_TRUE(stream);
  for (int i = 0; i < 1000; ++i) {
    auto message = (*stream)->next();
    ASSERT_TRUE(message && *message);
    EXPECT_EQ(decode<Text>(**message)->text, std::to_string(i));
  }
  auto end = (*stream)->next();
  ASSERT_TRUE(end);
  EXPECT_FALSE(*end);
  auto missing = client_->stream({}, kEcho, "Nope", "");
  EXPECT_EQ((*missing)->next().error().code(), Code::kUnimplemented);
}

TEST_F(TtrpcTest, AStreamThatIsLeftStopsItsHandler) {
  auto stream = client_->stream({}, kEcho, "Endless", encode(Text{}));
  ASSERT_TRUE((*stream)->next());
  stream->reset();
  EXPECT_EQ(stopped_.get_future().wait_for(10s), std::future_status::ready);
  EXPECT_TRUE(say("Say", "still here"));
}

// Speaks to the server byte by byte, as a hostile peer would.
class RawPeer {
 public:
  explicit RawPeer(const std::string& path) : socket_(std::move(*sys::connect_unix(path))) {
    int flags = ::fcntl(socket_.get(), F_GETFL);
    ::fcntl(socket_.get(), F_SETFL, flags & ~O_NONBLOCK);
  }
  void send(std::string_view bytes) {
    ASSERT_EQ(::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  Status answer_to(uint32_t stream) {
    char header[kHeaderSize];
    if (::recv(socket_.get(), header, sizeof header, MSG_WAITALL) != ssize_t{kHeaderSize})
      return fail(Code::kUnavailable, "closed");
    FrameHeader parsed = parse_header(header);
    EXPECT_EQ(parsed.stream, stream);
    std::string data(parsed.length, '\0');
    ::recv(socket_.get(), data.data(), data.size(), MSG_WAITALL);
    auto response = decode<ResponseEnvelope>(data);
    return response->status ? from_status(*response->status) : ok();
  }

 private:
  sys::UniqueFd socket_;
};

std::string frame_of(uint32_t stream, std::string_view data, FrameType type = FrameType::kRequest) {
  std::string bytes;
  put_header(bytes, {static_cast<uint32_t>(data.size()), stream, type, 0});
  return bytes.append(data);
}

TEST_F(TtrpcTest, HostileFramesGetAnErrorAndHarmNobodyElse) {
  RawPeer peer(path_);
  peer.send(frame_of(1, "garbage"));
  EXPECT_EQ(peer.answer_to(1).error().code(), Code::kInvalidArgument);
  peer.send(frame_of(2, encode(RequestEnvelope{kEcho, "Say", "", 0, {}})));
  EXPECT_EQ(peer.answer_to(2).error().code(), Code::kInvalidArgument);
  peer.send(frame_of(9, "", FrameType::kData));            // no such stream
  peer.send(frame_of(9, "", static_cast<FrameType>(77)));  // no such type
  peer.send(frame_of(3, std::string(kMaxData + 1, 'x')));
  EXPECT_EQ(peer.answer_to(3).error().code(), Code::kResourceExhausted);
  std::string slow = frame_of(5, encode(RequestEnvelope{kEcho, "Say", "", 0, {}}));
  for (char byte : slow) peer.send(std::string_view(&byte, 1));
  EXPECT_TRUE(peer.answer_to(5));
  peer.send(frame_of(7, encode(RequestEnvelope{kEcho, "Later", "", 0, {}})));
  peer.send(frame_of(7, encode(RequestEnvelope{kEcho, "Say", "", 0, {}})));
  EXPECT_EQ(peer.answer_to(7).error().code(), Code::kInvalidArgument);
  EXPECT_TRUE(say("Say", "others go on"));
  later_.lock()->clear();
}

TEST(UnixSocket, AStaleSocketIsReplacedALiveOneIsNot) {
  sys::TempDir dir;
  std::string path = dir.path().string() + "/" + std::string(90, 'd');
  ASSERT_TRUE(sys::make_dir(path));
  path += "/" + std::string(80, 's');  // longer than a socket address holds
  auto first = sys::listen_unix(path, 0600);
  ASSERT_TRUE(first) << first.error().message();
  EXPECT_TRUE(sys::connect_unix(path));
  EXPECT_EQ(sys::listen_unix(path, 0600).error().code(), Code::kFailedPrecondition);
  first->reset();
  EXPECT_TRUE(sys::listen_unix(path, 0600));
}

}  // namespace
}  // namespace skiff::ttrpc
