#include "grpc_host/call.h"

namespace skiff::grpc_host {

Call::Call(const Context& context) : cancel_(context.stop_token(), [this] { call_.TryCancel(); }) {
  call_.AddMetadata(kNamespaceHeader, context.name_space());
  if (!context.deadline()) return;
  // gRPC counts by the wall clock.
  auto left = *context.deadline() - Context::Clock::now();
  call_.set_deadline(std::chrono::system_clock::now() +
                     std::chrono::duration_cast<std::chrono::system_clock::duration>(left));
}

}  // namespace skiff::grpc_host
