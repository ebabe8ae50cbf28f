// When and how often a request is tried again.
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

#include "base/context.h"
#include "base/error.h"

namespace skiff::registry {

struct RetryPolicy {
  using Duration = std::chrono::milliseconds;
  // How many rounds over the hosts, the first included; counted anew after progress.
  int attempts = 5;
  // The wait doubles from the first to the longest; half of each is random, so that many clients
  // of a registry that comes back do not come back together.
  Duration first_wait{500};
  Duration longest_wait{15'000};
  // A Retry-After beyond this is not waited for.
  Duration longest_retry_after{60'000};
};

// Counts attempts and waits between them. Not thread-safe.
class Backoff {
 public:
  explicit Backoff(const RetryPolicy& policy) : policy_(policy) {}

  // Waits before the next attempt, as long as the server asked if it did. False when there is none
  // left (or the server asks for too long); the context's error when it ends, or would end, first.
  Result<bool> wait(const Context& context, std::optional<RetryPolicy::Duration> retry_after);
  void reset() { done_ = 0; }

 private:
  const RetryPolicy& policy_;
  int done_ = 0;  // waits so far
};

// Seconds, or an HTTP date (RFC 9110, 10.2.3) against the clock; nothing when it is neither. Never
// negative.
std::optional<RetryPolicy::Duration> parse_retry_after(std::string_view text,
                                                       std::chrono::system_clock::time_point now);

}  // namespace skiff::registry
