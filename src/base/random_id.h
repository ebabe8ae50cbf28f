#pragma once

#include <string>

namespace skiff {

// `bytes` random bytes from the kernel, as lower-case hex: container ids (32), trace ids (8),
// ingest ids (16).
std::string random_id(size_t bytes);

}  // namespace skiff
