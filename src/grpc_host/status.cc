#include "grpc_host/status.h"

namespace skiff::grpc_host {

grpc::Status to_grpc(const Error& error) {
  return {static_cast<grpc::StatusCode>(error.code()), error.message()};
}

Error from_grpc(const grpc::Status& status, std::string_view what) {
  int number = status.error_code();
  bool known = number > 0 && number <= static_cast<int>(Code::kUnauthenticated);
  return Error(known ? static_cast<Code>(number) : Code::kUnknown, status.error_message())
      .wrap(what);
}

Status check(const grpc::Status& status, std::string_view what) {
  return status.ok() ? ok() : Status(std::unexpected(from_grpc(status, what)));
}

}  // namespace skiff::grpc_host
