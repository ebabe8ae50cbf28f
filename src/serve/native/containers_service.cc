#include <atomic>

#include "base/guarded.h"
#include "engine/engine.h"
#include "serve/native/api.h"
#include "serve/native/convert.h"
#include "serve/native/services.h"
#include "sys/thread.h"

namespace skiff::native {
namespace {

using CallPtr = std::shared_ptr<ttrpc::Call>;

// A call that waits for an exit without holding a thread. It ends with the exit, or when its caller
// goes away or takes it back; the container does not notice either.
class Watch : public std::enable_shared_from_this<Watch> {
 public:
  using Finish = std::function<void(ttrpc::Call&, const Result<engine::ExitStatus>&)>;
  // `finish` answers the call; it may block, and runs on the pool.
  Watch(CallPtr call, sys::WorkerPool& pool, Finish finish)
      : call_(std::move(call)), pool_(pool), finish_(std::move(finish)) {}

  void start(engine::Engine& engine, const std::string& id) {
    auto self = shared_from_this();
    auto cancel = engine.when_exited(call_->context(), id, [self](Result<engine::ExitStatus> exit) {
      self->end(std::move(exit));
    });
    *cancel_.lock() = std::move(cancel);
    if (ended_) return drop();
    // The callback may run right here, when the caller has gone already.
    auto gone = std::make_unique<OnStop>(call_->context().stop_token(), [weak = weak_from_this()] {
      if (auto watch = weak.lock())
        // A caller that is still there can ask again: then it is the daemon that goes.
        watch->end(fail(Code::kUnavailable, "skiffd stops; the container goes on"));
    });
    *on_stop_.lock() = std::move(gone);
    if (ended_) drop();
  }

 private:
  using OnStop = std::stop_callback<std::function<void()>>;

  void end(Result<engine::ExitStatus> exit) {
    if (ended_.exchange(true)) return;
    auto answer = [self = shared_from_this(), exit = std::move(exit)] {
      self->finish_(*self->call_, exit);
      self->drop();
    };
    if (Status queued = pool_.submit(answer); !queued)
      call_->reply(std::unexpected(queued.error()), {});
  }
  // Takes back what still refers to this watch. Only after the end, and not from within a stop
  // callback's own thread holding a lock.
  void drop() {
    auto cancel = std::exchange(*cancel_.lock(), nullptr);
    if (cancel) cancel();
    auto on_stop = std::exchange(*on_stop_.lock(), nullptr);
  }

  CallPtr call_;
  sys::WorkerPool& pool_;
  Finish finish_;
  std::atomic<bool> ended_ = false;
  Guarded<std::function<void()>> cancel_;
  Guarded<std::unique_ptr<OnStop>> on_stop_;
};

Result<engine::Stdio> take_stdio(ttrpc::Call& call) {
  std::vector<sys::UniqueFd> fds = call.take_fds();
  if (fds.size() != 3)
    return fail(Code::kInvalidArgument, "expected 3 file descriptors for stdio, got {}",
                fds.size());
  return engine::Stdio{std::move(fds[0]), std::move(fds[1]), std::move(fds[2])};
}

void finish_run(ttrpc::Call& call, const Result<engine::ExitStatus>& exit) {
  if (!exit) return call.reply(std::unexpected(exit.error()), {});
  RunEvent event;
  event.exited = to_message(*exit);
  if (Status sent = call.send(ttrpc::encode(event)); !sent)
    return call.reply(std::unexpected(sent.error()), {});
  call.reply(std::string(), {});
}

Status run(const Parts& parts, sys::WorkerPool& pool, const CallPtr& call) {
  auto request = SKIFF_TRY(ttrpc::decode<RunRequest>(call->payload()));
  auto stdio = SKIFF_TRY(take_stdio(*call));
  auto spec = SKIFF_TRY(to_spec(std::move(request.spec)));
  auto info =
      SKIFF_TRY(parts.engine.run(call->context(), spec, std::move(stdio), to_size(request.size)));
  RunEvent event;
  event.started = Started{info.id, info.pid};
  // The command that could not be run has its exit at once.
  if (info.exit && info.phase == engine::Phase::kExited) event.exited = to_message(*info.exit);
  SKIFF_TRY(call->send(ttrpc::encode(event)));
  if (event.exited) {
    call->reply(std::string(), {});
    return ok();
  }
  std::make_shared<Watch>(call, pool, finish_run)->start(parts.engine, info.id);
  return ok();
}

void wait(const Parts& parts, sys::WorkerPool& pool, const CallPtr& call) {
  auto request = ttrpc::decode<WaitRequest>(call->payload());
  if (!request) return call->reply(std::unexpected(request.error()), {});
  auto finish = [](ttrpc::Call& done, const Result<engine::ExitStatus>& exit) {
    if (!exit) return done.reply(std::unexpected(exit.error()), {});
    done.reply(ttrpc::encode(to_message(*exit)), {});
  };
  std::make_shared<Watch>(call, pool, finish)->start(parts.engine, request->id);
}

// Runs a step of a deferred call on the pool; its error is the call's answer.
void on_pool(sys::WorkerPool& pool, CallPtr call, std::function<Status(const CallPtr&)> step) {
  Status queued = pool.submit([call, step = std::move(step)] {
    if (Status done = step(call); !done) call->reply(std::unexpected(done.error()), {});
  });
  if (!queued) call->reply(std::unexpected(queued.error()), {});
}

}  // namespace

ttrpc::Service containers_service(const Parts& parts, sys::WorkerPool& pool) {
  ttrpc::Service service(kContainersService);
  service.deferred("Run", [&parts, &pool](CallPtr call) {
    on_pool(pool, std::move(call),
            [&parts, &pool](const CallPtr& each) { return run(parts, pool, each); });
  });
  service.deferred("Wait", [&parts, &pool](CallPtr call) {
    on_pool(pool, std::move(call), [&parts, &pool](const CallPtr& each) {
      wait(parts, pool, each);
      return ok();
    });
  });
  service.unary<KillRequest>(
      "Kill", [&parts](const Context& context, const KillRequest& request) -> Result<Empty> {
        SKIFF_TRY(parts.engine.kill(context, request.id, request.signal, request.all));
        return Empty{};
      });
  service.unary<ResizeRequest>(
      "Resize", [&parts](const Context& context, const ResizeRequest& request) -> Result<Empty> {
        SKIFF_TRY(parts.engine.resize(context, request.id, to_size(request.size)));
        return Empty{};
      });
  service.unary<RemoveContainerRequest>(
      "Remove",
      [&parts](const Context& context, const RemoveContainerRequest& request) -> Result<Empty> {
        SKIFF_TRY(parts.engine.remove(context, request.id, request.force));
        return Empty{};
      });
  service.unary<ListContainersRequest>(
      "List",
      [&parts](const Context& context,
               const ListContainersRequest& request) -> Result<ListContainersResponse> {
        ListContainersResponse out;
        for (const auto& each : SKIFF_TRY(parts.engine.list(context, request.all)))
          out.containers.push_back(to_message(each));
        return out;
      });
  return service;
}

}  // namespace skiff::native
