#include "registry/retry.h"

#include <time.h>

#include <algorithm>
#include <charconv>
#include <condition_variable>
#include <mutex>
#include <random>
#include <string>

namespace skiff::registry {
namespace {

using Duration = RetryPolicy::Duration;

// Waits; the context's error when it ends first.
Status sleep(const Context& context, Duration time) {
  auto until = Context::Clock::now() + time;
  if (context.deadline() && *context.deadline() < until)
    return fail(Code::kDeadlineExceeded, "the operation's deadline comes before the next attempt");
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  never.wait_until(lock, context.stop_token(), until, [] { return false; });
  return context.check();
}

Duration jitter(Duration wait) {
  thread_local std::minstd_rand random{std::random_device{}()};
  return wait / 2 + Duration(std::uniform_int_distribution<int64_t>(0, wait.count() / 2)(random));
}

}  // namespace

Result<bool> Backoff::wait(const Context& context, std::optional<Duration> retry_after) {
  if (done_ + 1 >= policy_.attempts) return false;
  if (retry_after && *retry_after > policy_.longest_retry_after) return false;
  Duration own = policy_.first_wait * (int64_t{1} << std::min(done_, 20));
  ++done_;
  SKIFF_TRY(sleep(context, retry_after.value_or(jitter(std::min(own, policy_.longest_wait)))));
  return true;
}

std::optional<Duration> parse_retry_after(std::string_view text,
                                          std::chrono::system_clock::time_point now) {
  if (text.empty()) return {};
  uint32_t seconds = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error == std::errc() && end == text.data() + text.size())
    return std::chrono::seconds(seconds);
  const std::string date(text);
  tm parts{};
  const char* rest = strptime(date.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  if (!rest || *rest) return {};
  // In seconds: the years that a date may name overflow a clock of nanoseconds.
  auto left = timegm(&parts) - std::chrono::system_clock::to_time_t(now);
  return std::chrono::seconds(std::clamp<int64_t>(left, 0, UINT32_MAX));
}

}  // namespace skiff::registry
