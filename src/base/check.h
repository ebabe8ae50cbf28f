// Broken invariants crash, with their reason: SKIFF_CHECK is for what our own code guarantees,
// never for input. Input and the environment are handled with Result.
#pragma once

namespace skiff::detail {
[[noreturn]] void check_failed(const char* file, int line, const char* condition,
                               const char* reason);
}  // namespace skiff::detail

#define SKIFF_CHECK(condition, reason) \
  (static_cast<bool>(condition)        \
       ? void()                        \
       : ::skiff::detail::check_failed(__FILE__, __LINE__, #condition, reason))
