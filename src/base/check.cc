#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace skiff::detail {

void check_failed(const char* file, int line, const char* condition, const char* reason) {
  std::fprintf(stderr, "%s:%d: broken invariant: %s (%s)\n", file, line, condition, reason);
  std::abort();
}

}  // namespace skiff::detail
