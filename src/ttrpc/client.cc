#include "ttrpc/client.h"

#include <algorithm>
#include <condition_variable>
#include <deque>

#include "sys/event_loop.h"
#include "sys/socket.h"
#include "ttrpc/connection.h"

namespace skiff::ttrpc {
namespace {

constexpr size_t kMaxUnread = 16 << 20;

Result<Reply> to_reply(Result<Frame> frame) {
  if (!frame) return std::unexpected(std::move(frame).error());
  if (frame->oversize)
    return fail(Code::kResourceExhausted, "the answer exceeds ttrpc's limit of {} bytes", kMaxData);
  auto response = SKIFF_TRY(decode<ResponseEnvelope>(frame->data));
  if (response.status) SKIFF_TRY(from_status(*response.status));
  return Reply{std::move(response.payload), std::move(frame->fds)};
}

Result<RequestEnvelope> make_request(const Context& context, std::string_view service,
                                     std::string_view method, std::string payload) {
  SKIFF_TRY(context.check());
  RequestEnvelope request{std::string(service), std::string(method), std::move(payload), 0, {}};
  if (auto deadline = context.deadline())
    request.timeout_nano = std::chrono::nanoseconds(*deadline - Context::Clock::now()).count();
  request.metadata.push_back({kNamespaceKey, context.name_space()});
  if (!context.lease().empty()) request.metadata.push_back({kLeaseKey, context.lease()});
  if (!context.trace_id().empty()) request.metadata.push_back({kTraceKey, context.trace_id()});
  return request;
}

}  // namespace

// What the loop's callbacks hold: it outlives the client for as long as one of them runs.
struct Client::Shared {
  Guarded<State> state;
  std::shared_ptr<Connection> connection;

  void on_frame(Frame frame) {
    std::shared_ptr<Receiver> receiver = find(frame.stream);
    if (!receiver) return;  // the caller gave up
    uint32_t id = frame.stream;
    if ((*receiver)(std::move(frame))) forget(id);
  }
  void on_closed(const Error& reason) {
    std::map<uint32_t, std::shared_ptr<Receiver>> receivers;
    {
      auto locked = state.lock();
      locked->closed = Error(Code::kUnavailable, reason.message(), reason.sys_errno());
      receivers.swap(locked->receivers);
    }
    for (auto& [id, receiver] : receivers)
      (*receiver)(std::unexpected(Error(Code::kUnavailable, reason.message())));
  }
  std::shared_ptr<Receiver> find(uint32_t id) {
    auto locked = state.lock();
    auto found = locked->receivers.find(id);
    return found == locked->receivers.end() ? nullptr : found->second;
  }
  bool forget(uint32_t id) { return state.lock()->receivers.erase(id) > 0; }
  // Stops listening for an answer and tells the server.
  void cancel(uint32_t id) {
    if (!forget(id)) return;
    FrameHeader header{0, id, FrameType::kData, kRemoteClosed | kNoData};
    static_cast<void>(connection->send(header, {}));  // a closed connection cancels as well
  }
};

Result<std::shared_ptr<Client>> Client::connect(const std::string& path) {
  constexpr std::string_view kScheme = "unix://";
  bool scheme = path.starts_with(kScheme);
  return adopt(SKIFF_TRY(sys::connect_unix(scheme ? path.substr(kScheme.size()) : path)));
}

Result<std::shared_ptr<Client>> Client::adopt(sys::UniqueFd socket,
                                              std::shared_ptr<sys::EventLoop> loop) {
  if (!loop) loop = SKIFF_TRY(sys::shared_event_loop());
  auto shared = std::make_shared<Shared>();
  shared->connection =
      SKIFF_TRY(Connection::start(std::move(loop), std::move(socket),
                                  {[shared](Frame frame) { shared->on_frame(std::move(frame)); },
                                   [shared](const Error& reason) { shared->on_closed(reason); }}));
  return std::shared_ptr<Client>(new Client(std::move(shared)));
}

Client::~Client() { shared_->connection->close(); }

bool Client::closed() const { return shared_->state.lock()->closed.has_value(); }

Result<uint32_t> Client::open(const Context& context, std::string_view service,
                              std::string_view method, std::string payload,
                              std::vector<sys::UniqueFd> fds, uint8_t flags, Receiver receiver) {
  auto request = SKIFF_TRY(make_request(context, service, method, std::move(payload)));
  std::string data = encode(request);
  // Ids must reach the server in rising order, so number and queue in one step.
  auto state = shared_->state.lock();
  if (state->closed) return std::unexpected(*state->closed);
  uint32_t id = state->next_id;
  if (id > INT32_MAX) return fail(Code::kUnavailable, "this connection has used up its stream ids");
  state->next_id += 2;
  state->receivers.emplace(id, std::make_shared<Receiver>(std::move(receiver)));
  FrameHeader header{0, id, FrameType::kRequest, flags};
  if (Status sent = shared_->connection->send(header, data, std::move(fds)); !sent) {
    state->receivers.erase(id);
    return std::unexpected(std::move(sent).error().wrap(fmt::format("{}/{}", service, method)));
  }
  return id;
}

Result<Reply> Client::call_raw(const Context& context, std::string_view service,
                               std::string_view method, std::string payload,
                               std::vector<sys::UniqueFd> fds) {
  struct Waiter {
    Guarded<std::optional<Result<Reply>>> reply;
    std::condition_variable_any arrived;
  };
  auto waiter = std::make_shared<Waiter>();
  uint32_t id = SKIFF_TRY(open(context, service, method, std::move(payload), std::move(fds), 0,
                               [waiter](Result<Frame> frame) {
                                 *waiter->reply.lock() = to_reply(std::move(frame));
                                 waiter->arrived.notify_all();
                                 return true;
                               }));
  auto reply = waiter->reply.lock();
  auto ready = [&] { return reply->has_value(); };
  if (auto deadline = context.deadline()) {
    reply.wait_until(waiter->arrived, context.stop_token(), *deadline, ready);
  } else {
    reply.wait(waiter->arrived, context.stop_token(), ready);
  }
  if (reply->has_value()) return std::move(**reply);
  reply.unlock();
  shared_->cancel(id);
  SKIFF_TRY_WRAP(context.check(), "{}/{}", service, method);
  return fail(Code::kDeadlineExceeded, "{}/{}: no answer in time", service, method);
}

std::function<void()> Client::call_async(const Context& context, std::string_view service,
                                         std::string_view method, std::string payload, Done done) {
  auto shared_done = std::make_shared<Done>(std::move(done));
  auto id =
      open(context, service, method, std::move(payload), {}, 0, [shared_done](Result<Frame> frame) {
        (*shared_done)(to_reply(std::move(frame)));
        return true;
      });
  if (!id) {
    (*shared_done)(std::unexpected(std::move(id).error()));
    return [] {};
  }
  return [shared = shared_, id = *id] { shared->cancel(id); };
}

struct Client::Stream::State {
  struct Inbox {
    std::deque<std::string> messages;
    size_t bytes = 0;
    std::optional<Status> end;
  };
  Guarded<Inbox> inbox;
  std::condition_variable_any changed;

  bool take(Result<Frame> frame) {
    auto in = inbox.lock();
    changed.notify_all();
    if (!frame || frame->type == FrameType::kResponse || frame->oversize) {
      Result<Reply> last = to_reply(std::move(frame));
      in->end = last ? ok() : Status(std::unexpected(std::move(last).error()));
      return true;
    }
    if (!(frame->flags & kNoData)) {
      in->bytes += frame->data.size();
      if (in->bytes > kMaxUnread) {
        in->end = fail(Code::kResourceExhausted, "a stream's reader is {} bytes behind", in->bytes);
        return true;
      }
      in->messages.push_back(std::move(frame->data));
    }
    if (!(frame->flags & kRemoteClosed)) return false;
    in->end = ok();
    return true;
  }
};

Client::Stream::Stream(std::shared_ptr<Shared> client, uint32_t id, Context context,
                       std::shared_ptr<State> state)
    : client_(std::move(client)), id_(id), context_(std::move(context)), state_(std::move(state)) {}

Client::Stream::~Stream() { client_->cancel(id_); }

Result<std::optional<std::string>> Client::Stream::next() {
  auto in = state_->inbox.lock();
  auto ready = [&] { return !in->messages.empty() || in->end; };
  bool there = true;
  if (auto deadline = context_.deadline()) {
    there = in.wait_until(state_->changed, context_.stop_token(), *deadline, ready);
  } else {
    there = in.wait(state_->changed, context_.stop_token(), ready);
  }
  if (!there) {
    in.unlock();
    SKIFF_TRY(context_.check());
    return fail(Code::kDeadlineExceeded, "no message in time");
  }
  if (!in->messages.empty()) {
    std::string message = std::move(in->messages.front());
    in->messages.pop_front();
    in->bytes -= message.size();
    return message;
  }
  if (!*in->end) return std::unexpected(in->end->error());
  return std::nullopt;
}

Result<std::unique_ptr<Client::Stream>> Client::stream(const Context& context,
                                                       std::string_view service,
                                                       std::string_view method, std::string payload,
                                                       std::vector<sys::UniqueFd> fds) {
  auto state = std::make_shared<Stream::State>();
  uint32_t id =
      SKIFF_TRY(open(context, service, method, std::move(payload), std::move(fds), kRemoteClosed,
                     [state](Result<Frame> frame) { return state->take(std::move(frame)); }));
  return std::unique_ptr<Stream>(new Stream(shared_, id, context, std::move(state)));
}

}  // namespace skiff::ttrpc
