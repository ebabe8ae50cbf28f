#include "base/random_id.h"

#include <fmt/format.h>
#include <sys/random.h>

#include "base/check.h"

namespace skiff {

std::string random_id(size_t bytes) {
  std::string raw(bytes, '\0');
  // Requests of up to 256 bytes are never cut short once the pool is up (getrandom(2)).
  SKIFF_CHECK(bytes <= 256 && getrandom(raw.data(), bytes, 0) == static_cast<ssize_t>(bytes),
              "the kernel gives random bytes");
  std::string hex;
  hex.reserve(bytes * 2);
  for (unsigned char c : raw) hex += fmt::format("{:02x}", c);
  return hex;
}

}  // namespace skiff
