// The three services, built by one file each. For this folder's own sources.
#pragma once

#include "serve/native/native.h"
#include "ttrpc/server.h"

namespace skiff::sys {
class WorkerPool;
}

namespace skiff::native {

ttrpc::Service images_service(const Parts& parts);
// `pool` runs what may block on behalf of calls that wait without a thread.
ttrpc::Service containers_service(const Parts& parts, sys::WorkerPool& pool);
ttrpc::Service system_service(const Parts& parts);

}  // namespace skiff::native
