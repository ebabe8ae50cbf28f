#include "ttrpc/server.h"

#include <atomic>
#include <condition_variable>
#include <optional>
#include <set>

#include <sys/epoll.h>

#include "base/log.h"
#include "sys/event_loop.h"
#include "sys/socket.h"
#include "ttrpc/connection.h"

namespace skiff::ttrpc {

void Service::raw(std::string method, std::function<Result<std::string>(Call&)> handler) {
  auto run = [handler = std::move(handler)](std::shared_ptr<Call> call) {
    call->reply(handler(*call));
  };
  methods_[std::move(method)] = {std::move(run), false};
}

void Service::stream(std::string method, std::function<Status(Call&)> handler) {
  raw(std::move(method), [handler = std::move(handler)](Call& call) -> Result<std::string> {
    SKIFF_TRY(handler(call));
    return std::string();
  });
}

void Service::deferred(std::string method, Deferred handler) {
  methods_[std::move(method)] = {std::move(handler), true};
}

namespace {

class ServerCall;

// A client's connection and its unanswered calls.
struct Session {
  Peer peer;
  std::shared_ptr<Connection> connection;
  Guarded<std::map<uint32_t, std::weak_ptr<ServerCall>>> calls;
};

void send_status(Connection& connection, uint32_t stream, const Error& error) {
  ResponseEnvelope response{to_status(error), {}};
  // A connection that is gone needs no answer.
  static_cast<void>(connection.send({0, stream, FrameType::kResponse, 0}, encode(response)));
}

class ServerCall : public Call {
 public:
  ServerCall(std::shared_ptr<Session> session, uint32_t stream, RequestEnvelope& request,
             std::vector<sys::UniqueFd> fds, std::function<void()> on_end)
      : session_(std::move(session)),
        stream_(stream),
        payload_(std::move(request.payload)),
        fds_(std::move(fds)),
        on_end_(std::move(on_end)) {
    context_ = context_.with_peer(session_->peer).with_stop(stop_.get_token());
    if (request.timeout_nano > 0)
      context_ = context_.with_deadline(Context::Clock::now() +
                                        std::chrono::nanoseconds(request.timeout_nano));
    for (KeyValue& pair : request.metadata) {
      if (pair.key == kNamespaceKey) context_ = context_.with_namespace(std::move(pair.value));
      if (pair.key == kLeaseKey) context_ = context_.with_lease(std::move(pair.value));
      if (pair.key == kTraceKey) context_ = context_.with_trace_id(std::move(pair.value));
    }
  }
  ~ServerCall() override {
    if (!answered_) reply(fail(Code::kInternal, "the handler ended without an answer"), {});
    on_end_();
  }

  const Context& context() const override { return context_; }
  const std::string& payload() const override { return payload_; }
  std::vector<sys::UniqueFd> take_fds() override { return std::move(fds_); }

  void on_stop(std::function<void()> then) override {
    on_stop_.emplace(stop_.get_token(), std::move(then));
  }

  Status send(std::string_view message) override {
    SKIFF_TRY(session_->connection->wait_for_room(context_));
    if (answered_) return fail(Code::kFailedPrecondition, "this call has been answered");
    return session_->connection->send({0, stream_, FrameType::kData, 0}, message);
  }

  void reply(Result<std::string> payload, std::vector<sys::UniqueFd> fds) override {
    if (answered_.exchange(true)) return;
    session_->calls.lock()->erase(stream_);
    if (!payload) return send_status(*session_->connection, stream_, payload.error());
    ResponseEnvelope response{WireStatus{}, std::move(*payload)};
    Status sent = session_->connection->send({0, stream_, FrameType::kResponse, 0},
                                             encode(response), std::move(fds));
    if (!sent && sent.error().is(Code::kResourceExhausted))
      send_status(*session_->connection, stream_, sent.error());
  }

  void stop() { stop_.request_stop(); }
  // Ends without an answer of its own (somebody else gives it).
  void abandon() { answered_ = true; }

 private:
  std::shared_ptr<Session> session_;
  uint32_t stream_;
  std::string payload_;
  std::vector<sys::UniqueFd> fds_;
  std::function<void()> on_end_;
  std::stop_source stop_;
  Context context_;
  std::atomic<bool> answered_ = false;
  std::optional<std::stop_callback<std::function<void()>>> on_stop_;
};

// Outside the session's lock: a stop callback may answer.
void stop_calls(Session& session) {
  auto calls = *session.calls.lock();
  for (auto& [stream, weak] : calls)
    if (auto call = weak.lock()) call->stop();
}

}  // namespace

struct Server::Shared : std::enable_shared_from_this<Server::Shared> {
  struct State {
    std::map<sys::EventLoop::Token, sys::UniqueFd> listeners;
    std::set<std::shared_ptr<Session>> sessions;
    size_t calls = 0;
    bool closing = false;
  };

  Shared(std::shared_ptr<sys::EventLoop> the_loop, Options the_options)
      : loop(std::move(the_loop)), options(std::move(the_options)), workers(options.workers) {}

  void accept(int listener);
  Status open(sys::UniqueFd socket);
  void on_frame(const std::shared_ptr<Session>& session, Frame frame);
  void on_request(const std::shared_ptr<Session>& session, Frame frame);
  Result<const Service::Method*> find(const RequestEnvelope& request) const;
  Result<std::shared_ptr<ServerCall>> begin(const std::shared_ptr<Session>& session, Frame& frame,
                                            RequestEnvelope& request);
  void run(const Service::Method& method, std::shared_ptr<ServerCall> call);
  void on_closed(const std::shared_ptr<Session>& session);
  void call_ended() {
    state.lock()->calls--;
    changed.notify_all();
  }

  std::shared_ptr<sys::EventLoop> loop;
  Options options;
  std::map<std::string, Service, std::less<>> services;
  Guarded<State> state;
  std::condition_variable_any changed;
  sys::WorkerPool workers;
};

void Server::Shared::accept(int listener) {
  for (int i = 0; i < 64; ++i) {
    auto client = sys::accept_unix(listener);
    if (!client) {
      log::warning("cannot accept a connection", {{"error", client.error()}});
      return;
    }
    if (!*client) return;
    if (Status opened = open(std::move(**client)); !opened)
      log::warning("refused a connection", {{"error", opened.error()}});
  }
}

Status Server::Shared::open(sys::UniqueFd socket) {
  auto session = std::make_shared<Session>();
  session->peer = SKIFF_TRY(sys::peer_of(socket.get()));
  if (options.admit) SKIFF_TRY(options.admit(session->peer));
  auto locked = state.lock();
  if (locked->closing) return fail(Code::kUnavailable, "the server is shutting down");
  if (locked->sessions.size() >= options.max_connections)
    return fail(Code::kResourceExhausted, "{} connections are open", locked->sessions.size());
  // Frames may come on the loop's thread before start returns: they wait for this lock in on_frame.
  session->connection = SKIFF_TRY(Connection::start(
      loop, std::move(socket),
      {[self = shared_from_this(), session](Frame frame) {
         self->on_frame(session, std::move(frame));
       },
       [self = shared_from_this(), session](const Error&) { self->on_closed(session); }}));
  locked->sessions.insert(session);
  return ok();
}

void Server::Shared::on_closed(const std::shared_ptr<Session>& session) {
  stop_calls(*session);
  auto locked = state.lock();
  locked->sessions.erase(session);
  bool idle = locked->sessions.empty() && !locked->closing;
  locked.unlock();
  if (idle && options.on_idle) options.on_idle();
}

void Server::Shared::on_frame(const std::shared_ptr<Session>& session, Frame frame) {
  static_cast<void>(state.lock());  // open() is done with the session once this passes
  if (frame.type == FrameType::kRequest) return on_request(session, std::move(frame));
  if (frame.type != FrameType::kData || !(frame.flags & kRemoteClosed)) return;
  std::shared_ptr<ServerCall> call;
  {
    auto calls = session->calls.lock();
    auto found = calls->find(frame.stream);
    if (found != calls->end()) call = found->second.lock();
  }
  if (call) call->stop();
}

void Server::Shared::on_request(const std::shared_ptr<Session>& session, Frame frame) {
  auto start = [&]() -> Status {
    if (frame.stream % 2 == 0)
      return fail(Code::kInvalidArgument, "stream id {}: a client's are odd", frame.stream);
    if (frame.oversize)
      return fail(Code::kResourceExhausted, "a request exceeds ttrpc's limit of {} bytes",
                  kMaxData);
    auto request = SKIFF_TRY(decode<RequestEnvelope>(frame.data));
    const Service::Method* method = SKIFF_TRY(find(request));
    run(*method, SKIFF_TRY(begin(session, frame, request)));
    return ok();
  };
  if (Status started = start(); !started)
    send_status(*session->connection, frame.stream, started.error());
}

Result<const Service::Method*> Server::Shared::find(const RequestEnvelope& request) const {
  auto service = services.find(request.service);
  if (service == services.end())
    return fail(Code::kUnimplemented, "service {} is not served here", request.service);
  auto method = service->second.methods_.find(request.method);
  if (method == service->second.methods_.end())
    return fail(Code::kUnimplemented, "{} has no method {}", request.service, request.method);
  return &method->second;
}

Result<std::shared_ptr<ServerCall>> Server::Shared::begin(const std::shared_ptr<Session>& session,
                                                          Frame& frame, RequestEnvelope& request) {
  {
    auto locked = state.lock();
    if (locked->closing) return fail(Code::kUnavailable, "the server is shutting down");
    locked->calls++;
  }
  auto call = std::make_shared<ServerCall>(session, frame.stream, request, std::move(frame.fds),
                                           [self = shared_from_this()] { self->call_ended(); });
  auto calls = session->calls.lock();
  Status status;
  if (calls->size() >= options.max_calls_per_connection) {
    status =
        fail(Code::kResourceExhausted, "{} calls are active on this connection", calls->size());
  } else if (!calls->emplace(frame.stream, call).second) {
    status = fail(Code::kInvalidArgument, "stream id {} is in use", frame.stream);
  }
  calls.unlock();
  if (status) return call;
  call->abandon();
  return std::unexpected(status.error());
}

void Server::Shared::run(const Service::Method& method, std::shared_ptr<ServerCall> call) {
  if (method.inline_on_loop) return method.run(std::move(call));
  Status queued = workers.submit([&method, call] { method.run(call); });
  if (!queued) call->reply(std::unexpected(queued.error()), {});
}

Server::Server(std::shared_ptr<sys::EventLoop> loop, Options options)
    : shared_(std::make_shared<Shared>(std::move(loop), std::move(options))) {}

Server::~Server() {
  shutdown(Context().with_timeout(std::chrono::milliseconds(0)));
  shared_->workers.drain();
}

void Server::add(Service service) {
  std::string name = service.name_;
  shared_->services.insert_or_assign(std::move(name), std::move(service));
}

Status Server::serve(sys::UniqueFd listener) {
  auto locked = shared_->state.lock();
  int fd = listener.get();
  auto token = SKIFF_TRY(
      shared_->loop->add(fd, EPOLLIN, [shared = shared_, fd](uint32_t) { shared->accept(fd); }));
  locked->listeners.emplace(token, std::move(listener));
  return ok();
}

Status Server::adopt(sys::UniqueFd socket) { return shared_->open(std::move(socket)); }

size_t Server::active_calls() const { return shared_->state.lock()->calls; }
size_t Server::connections() const { return shared_->state.lock()->sessions.size(); }

void Server::shutdown(const Context& context) {
  auto state = shared_->state.lock();
  state->closing = true;
  for (auto& [token, fd] : state->listeners) shared_->loop->remove(token);
  state->listeners.clear();
  auto done = [&] { return state->calls == 0; };
  if (auto deadline = context.deadline()) {
    state.wait_until(shared_->changed, context.stop_token(), *deadline, done);
  } else {
    state.wait(shared_->changed, context.stop_token(), done);
  }
  std::set<std::shared_ptr<Session>> sessions = state->sessions;
  state.unlock();
  for (const auto& session : sessions) {
    stop_calls(*session);
    session->connection->close_when_sent();
  }
}

}  // namespace skiff::ttrpc
