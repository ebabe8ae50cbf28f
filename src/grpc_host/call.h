// One outgoing gRPC call under a Context: its deadline and namespace travel, its stop cancels.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>

#include <grpcpp/client_context.h>

#include "base/context.h"

namespace skiff::grpc_host {

// containerd's header for the namespace.
inline constexpr char kNamespaceHeader[] = "containerd-namespace";

class Call {
 public:
  explicit Call(const Context& context);
  grpc::ClientContext* get() { return &call_; }

 private:
  grpc::ClientContext call_;
  std::stop_callback<std::function<void()>> cancel_;  // after the call: it ends first
};

}  // namespace skiff::grpc_host
