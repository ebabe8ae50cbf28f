// State that threads share. The data is reachable only through the lock, so it cannot be touched
// without it:
//   Guarded<std::map<...>> flights_;
//   auto flights = flights_.lock();
//   flights->erase(key);
// Never hold the guard over I/O. For "wait until": guard.wait(condition_variable, ...).
#pragma once

#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <utility>

namespace skiff {

template <typename T>
class Guarded {
 public:
  class Guard {
   public:
    T* operator->() const { return value_; }
    T& operator*() const { return *value_; }

    // Waits until `ready` holds; returns what it says at the end. With a stop token, also ends when
    // a stop is requested; with a time point, when it has passed.
    template <typename Ready>
    void wait(std::condition_variable_any& changed, Ready ready) {
      changed.wait(lock_, ready);
    }
    template <typename Ready>
    bool wait(std::condition_variable_any& changed, std::stop_token stop, Ready ready) {
      return changed.wait(lock_, std::move(stop), ready);
    }
    template <typename Time, typename Ready>
    bool wait_until(std::condition_variable_any& changed, std::stop_token stop, Time until,
                    Ready ready) {
      return changed.wait_until(lock_, std::move(stop), until, ready);
    }
    // Gives the lock back before the guard's end.
    void unlock() { lock_.unlock(); }
    void relock() { lock_.lock(); }

   private:
    friend class Guarded;
    Guard(std::mutex& mutex, T* value) : lock_(mutex), value_(value) {}
    std::unique_lock<std::mutex> lock_;
    T* value_;
  };

  Guarded() = default;
  explicit Guarded(T value) : value_(std::move(value)) {}
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  [[nodiscard]] Guard lock() { return Guard(mutex_, &value_); }

 private:
  std::mutex mutex_;
  T value_{};
};

}  // namespace skiff
