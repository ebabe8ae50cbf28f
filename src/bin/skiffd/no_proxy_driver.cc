#include "bin/skiffd/drivers.h"

namespace skiff::daemon {

Result<Driver> open_proxy(metadata::Store&, const std::string&, const Settings::Proxy&) {
  return fail(Code::kUnimplemented, "this build of skiffd has no gRPC");
}

}  // namespace skiff::daemon
