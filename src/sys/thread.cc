#include "sys/thread.h"

#include <chrono>
#include <csignal>

#include <pthread.h>

namespace skiff::sys {
namespace {

constexpr auto kIdle = std::chrono::seconds(2);

void* run_body(void* argument) {
  std::unique_ptr<std::function<void()>> body(static_cast<std::function<void()>*>(argument));
  (*body)();
  return nullptr;
}

}  // namespace

Status start_thread(const char* name, std::function<void()> body, size_t stack_size) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  stack_size *= 8;  // instrumented frames are larger
#endif
  auto argument = std::make_unique<std::function<void()>>(std::move(body));
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, stack_size);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  // Signals belong to the main thread (or its signalfd): the new thread inherits this mask.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  int error = pthread_create(&thread, &attributes, run_body, argument.get());
  if (error == 0) {
    static_cast<void>(argument.release());
    pthread_setname_np(thread, name);
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  if (error != 0)
    return std::unexpected(errno_error(error, fmt::format("start thread {}", name))
                               .with_code(Code::kResourceExhausted));
  return ok();
}

WorkerPool::WorkerPool(Options options) : options_(options) {}

WorkerPool::~WorkerPool() {
  shared_->state.lock()->closing = true;
  shared_->changed.notify_all();
}

void WorkerPool::drain() {
  auto state = shared_->state.lock();
  state->closing = true;
  shared_->changed.notify_all();
  state.wait(shared_->changed, [&] { return state->threads == 0; });
}

Status WorkerPool::submit(std::function<void()> task) {
  auto state = shared_->state.lock();
  if (state->closing) return fail(Code::kUnavailable, "{} takes no more work", options_.name);
  if (state->queue.size() >= options_.max_queued)
    return fail(Code::kResourceExhausted, "too many requests are waiting ({})",
                state->queue.size());
  state->queue.push_back(std::move(task));
  if (state->idle >= state->queue.size() || state->threads >= options_.max_threads) {
    shared_->changed.notify_all();
    return ok();
  }
  state->threads++;
  state.unlock();
  Status started =
      start_thread(options_.name, [shared = shared_] { work(shared); }, options_.stack_size);
  if (started) return ok();
  state.relock();
  state->threads--;
  if (state->threads > 0) return ok();  // another thread takes the task in its time
  state->queue.clear();
  return started;
}

void WorkerPool::work(const std::shared_ptr<Shared>& shared) {
  auto state = shared->state.lock();
  while (true) {
    state->idle++;
    bool more = state.wait_until(shared->changed, {}, std::chrono::steady_clock::now() + kIdle,
                                 [&] { return !state->queue.empty() || state->closing; });
    state->idle--;
    if (!more || state->queue.empty()) break;
    std::function<void()> task = std::move(state->queue.front());
    state->queue.pop_front();
    state.unlock();
    task();
    task = nullptr;
    state.relock();
  }
  state->threads--;
  shared->changed.notify_all();
}

}  // namespace skiff::sys
