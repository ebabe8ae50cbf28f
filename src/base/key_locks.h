// Mutual exclusion by key: who holds a key keeps others off that key only. Unlike a mutex it may be
// held over I/O, since nobody waits but those who need the very same thing. Not recursive.
//   auto held = locks_.lock(digest.str());
#pragma once

#include <condition_variable>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "base/guarded.h"

namespace skiff {

// Thread-safe. Must outlive what it handed out.
class KeyLocks {
 public:
  class Held {
   public:
    Held(Held&& other) noexcept
        : locks_(std::exchange(other.locks_, nullptr)), key_(std::move(other.key_)) {}
    Held& operator=(Held&&) = delete;
    ~Held() {
      if (locks_ == nullptr) return;
      locks_->keys_.lock()->erase(key_);
      locks_->freed_.notify_all();
    }

   private:
    friend class KeyLocks;
    Held(KeyLocks* locks, std::string key) : locks_(locks), key_(std::move(key)) {}
    KeyLocks* locks_;
    std::string key_;
  };

  // Waits until nobody holds the key.
  [[nodiscard]] Held lock(std::string key) {
    auto keys = keys_.lock();
    keys.wait(freed_, [&] { return !keys->contains(key); });
    keys->insert(key);
    return Held(this, std::move(key));
  }
  // Nothing when somebody holds it.
  [[nodiscard]] std::optional<Held> try_lock(std::string key) {
    if (!keys_.lock()->insert(key).second) return std::nullopt;
    return Held(this, std::move(key));
  }

 private:
  Guarded<std::set<std::string>> keys_;
  std::condition_variable_any freed_;
};

}  // namespace skiff
