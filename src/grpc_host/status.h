// Errors across gRPC: the codes are the same sixteen.
#pragma once

#include <string_view>

#include <grpcpp/support/status.h>

#include "base/error.h"

namespace skiff::grpc_host {

grpc::Status to_grpc(const Error& error);
// `what` names the call: "snapshotter stargz: prepare".
Error from_grpc(const grpc::Status& status, std::string_view what);
// ok for an ok status.
Status check(const grpc::Status& status, std::string_view what);

}  // namespace skiff::grpc_host
