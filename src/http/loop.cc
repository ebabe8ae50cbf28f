#include "http/loop.h"

#include <malloc.h>
#include <pthread.h>
#include <signal.h>

#include <algorithm>

#include "base/check.h"

namespace skiff::http {
namespace {

using Clock = Transfer::Clock;

// A step this long means that a sink held the thread up, not that there was much to do.
constexpr auto kHeldUp = std::chrono::milliseconds(200);
constexpr auto kLongestPoll = std::chrono::milliseconds(60'000);

}  // namespace

Loop::Loop(std::string name, std::chrono::milliseconds idle)
    : name_(std::move(name)), idle_(idle) {}

Loop::~Loop() {
  {
    auto state = state_.lock();
    state->stopping = true;
    if (state->multi) curl_multi_wakeup(state->multi);
  }
  auto thread = thread_.lock();
  if (thread->joinable()) thread->join();
}

void Loop::submit(Transfer& transfer) {
  ++load_;
  // Held over both, so that two first callers do not both start a thread.
  auto thread = thread_.lock();
  {
    auto state = state_.lock();
    state->incoming.push_back(&transfer);
    if (state->multi) {
      curl_multi_wakeup(state->multi);
      return;
    }
    state->multi = curl_multi_init();
    SKIFF_CHECK(state->multi, "out of memory for a libcurl multi handle");
  }
  // The last thread, if there was one, has let go of its state: this join is short.
  if (thread->joinable()) thread->join();
  *thread = std::jthread([this] { run(); });
}

void Loop::wake() {
  auto state = state_.lock();
  if (state->multi) curl_multi_wakeup(state->multi);
}

void Loop::run() {
  pthread_setname_np(pthread_self(), name_.c_str());
  // OpenSSL writes without MSG_NOSIGNAL; and signals are the main thread's.
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);

  CURLM* multi = state_.lock()->multi;
  Clock::time_point idle_since = Clock::now();
  while (!should_end(idle_since)) {
    admit(multi);
    drop_ended(multi);
    step(multi);
    settle_finished(multi);
    if (!active_.empty()) idle_since = Clock::now();
    curl_multi_poll(multi, nullptr, 0, poll_timeout(idle_since), nullptr);
  }
  end_all(multi);
  curl_multi_cleanup(multi);
  malloc_trim(0);  // receive buffers lie in this thread's arena: give them back while idle
}

bool Loop::should_end(Clock::time_point idle_since) {
  auto state = state_.lock();
  bool idle = active_.empty() && state->incoming.empty() && Clock::now() >= idle_since + idle_;
  if (!idle && !state->stopping) return false;
  state->multi = nullptr;  // later callers start anew
  return true;
}

void Loop::admit(CURLM* multi) {
  std::vector<Transfer*> incoming;
  std::swap(incoming, state_.lock()->incoming);
  for (Transfer* transfer : incoming) {
    transfer->started(Clock::now());
    CURLMcode code = curl_multi_add_handle(multi, transfer->easy());
    SKIFF_CHECK(code == CURLM_OK || code == CURLM_OUT_OF_MEMORY, "libcurl refused a new handle");
    active_.push_back(transfer);
  }
}

void Loop::drop_ended(CURLM* multi) {
  auto now = Clock::now();
  std::erase_if(active_, [&](Transfer* transfer) {
    Status status = transfer->cancelled() ? fail(Code::kCanceled, "the operation was canceled")
                                          : transfer->check_progress(now);
    if (status) return false;
    curl_multi_remove_handle(multi, transfer->easy());
    --load_;
    transfer->fail_with(std::move(status).error());
    return true;
  });
}

void Loop::step(CURLM* multi) {
  auto before = Clock::now();
  int running = 0;
  curl_multi_perform(multi, &running);
  auto took = Clock::now() - before;
  if (took < kHeldUp) return;
  for (Transfer* transfer : active_) transfer->excuse(took);
}

void Loop::settle_finished(CURLM* multi) {
  int left = 0;
  while (CURLMsg* message = curl_multi_info_read(multi, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    CURLcode code = message->data.result;
    Transfer* transfer = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
    curl_multi_remove_handle(multi, transfer->easy());
    std::erase(active_, transfer);
    --load_;
    transfer->finish(code);
  }
}

int Loop::poll_timeout(Clock::time_point idle_since) const {
  auto until = Clock::now() + kLongestPoll;
  if (active_.empty()) until = std::min(until, idle_since + idle_);
  for (Transfer* transfer : active_) until = std::min(until, transfer->next_check());
  // Rounded up, so that the check is due when the poll ends.
  auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now());
  return static_cast<int>(std::max<int64_t>(left.count(), 0));
}

void Loop::end_all(CURLM* multi) {
  std::vector<Transfer*> incoming;
  std::swap(incoming, state_.lock()->incoming);
  Error error(Code::kCanceled, "the HTTP client is shutting down");
  for (Transfer* transfer : active_) {
    curl_multi_remove_handle(multi, transfer->easy());
    transfer->fail_with(error);
  }
  for (Transfer* transfer : incoming) transfer->fail_with(error);
  load_ = 0;
  active_.clear();
}

}  // namespace skiff::http
