// What a hostile peer can send over ttrpc: envelopes and the messages within, and whole byte
// streams to a server. The first byte chooses.
#include <sys/socket.h>

#include "base/check.h"
#include "shim_api/private.h"
#include "sys/event_loop.h"
#include "sys/socket.h"
#include "sys/thread.h"
#include "ttrpc/frame.h"
#include "ttrpc/server.h"

using namespace skiff;

namespace {

template <class M>
void round_trip(std::string_view bytes) {
  auto message = ttrpc::decode<M>(bytes);
  if (!message) return;
  std::string once = ttrpc::encode(*message);
  auto again = ttrpc::decode<M>(once);
  SKIFF_CHECK(again && ttrpc::encode(*again) == once, "what was decoded encodes stably");
}

struct House {
  std::shared_ptr<sys::EventLoop> loop = *sys::shared_event_loop();
  ttrpc::Server server{loop, {}};
  House() {
    ttrpc::Service echo("e");
    echo.deferred("m", [](std::shared_ptr<ttrpc::Call> call) { call->reply(call->payload()); });
    server.add(std::move(echo));
  }
};

// Sends the bytes and waits until the server has read them all and gone.
void feed_server(std::string_view bytes) {
  static House& house = *new House;
  auto pair = sys::socket_pair(true);
  SKIFF_CHECK(pair.has_value(), "a socket pair");
  SKIFF_CHECK(house.server.adopt(std::move(pair->second)).has_value(), "a connection");
  std::vector<sys::UniqueFd> none;
  std::byte sink[4096];
  while (!bytes.empty()) {
    auto sent = sys::send_some(pair->first.get(), as_bytes(bytes));
    if (!sent) return;
    if (*sent) bytes.remove_prefix(**sent);
    if (!sys::receive_some(pair->first.get(), sink, none)) return;
  }
  ::shutdown(pair->first.get(), SHUT_WR);
  while (true) {
    auto got = sys::receive_some(pair->first.get(), sink, none);
    if (!got || (*got && **got == 0)) return;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 6) {
    case 0: round_trip<ttrpc::RequestEnvelope>(rest); break;
    case 1: round_trip<ttrpc::ResponseEnvelope>(rest); break;
    case 2: round_trip<shim_api::CreateRequest>(rest); break;
    case 3: round_trip<shim_api::UpdateTaskRequest>(rest); break;
    case 4: round_trip<shim_api::ExitResponse>(rest); break;
    case 5: feed_server(rest); break;
  }
  return 0;
}
