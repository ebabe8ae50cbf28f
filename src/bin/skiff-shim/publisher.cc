#include "bin/skiff-shim/publisher.h"

#include <chrono>

#include "base/log.h"
#include "sys/socket.h"

namespace skiff::shim {
namespace {

constexpr size_t kMaxQueued = 2048;
constexpr auto kRetry = std::chrono::seconds(1);

}  // namespace

void Publisher::queue(const char* topic, const char* type, std::string event) {
  shim_api::ForwardRequest request;
  request.envelope = {ttrpc::to_timestamp(std::chrono::system_clock::now()), namespace_, topic,
                      ttrpc::Any{type, std::move(event)}};
  auto state = state_.lock();
  if (state->queue.size() >= kMaxQueued) state->queue.erase(state->queue.begin() + 1);
  state->queue.push_back(ttrpc::encode(request));
  if (state->sending) return;
  state->sending = true;
  state.unlock();
  loop_->post([self = shared_from_this()] { self->send_next(); });
}

// On the loop's thread, by one chain of callbacks at a time (`sending`).
void Publisher::send_next() {
  auto state = state_.lock();
  if (state->queue.empty()) {
    state->sending = false;
    return;
  }
  std::string payload = state->queue.front();
  if (!state->client || state->client->closed()) {
    state->client = nullptr;
    auto socket =
        sys::connect_unix(address_.starts_with("unix://") ? address_.substr(7) : address_);
    auto client =
        socket ? ttrpc::Client::adopt(std::move(*socket), loop_) : std::unexpected(socket.error());
    if (!client) {
      state.unlock();
      return on_answer(false);
    }
    state->client = *client;
  }
  auto client = state->client;
  state.unlock();
  client->call_async(Context().with_namespace(namespace_), shim_api::kEventsService, "Forward",
                     std::move(payload), [self = shared_from_this()](Result<ttrpc::Reply> reply) {
                       // An answer of any kind is an answer; only a lost connection is tried again.
                       self->on_answer(reply || !reply.error().is(Code::kUnavailable));
                     });
}

void Publisher::on_answer(bool delivered) {
  auto again = [self = shared_from_this()] { self->send_next(); };
  if (delivered) {
    state_.lock()->queue.pop_front();
    loop_->post(again);
  } else if (auto timer = loop_->after(kRetry, again); !timer) {
    log::error("events stop", {{"error", timer.error()}});
  }
}

}  // namespace skiff::shim
