// A bounded number of places; whoever finds none waits in line, first come first served.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/context.h"
#include "base/guarded.h"

namespace skiff::image {

class Slots {
 public:
  explicit Slots(int places) { state_.lock()->free = places; }

  class Slot {
   public:
    explicit Slot(Slots* slots) : slots_(slots) {}
    Slot(Slot&& other) noexcept : slots_(std::exchange(other.slots_, nullptr)) {}
    Slot& operator=(Slot&&) = delete;
    ~Slot() { release(); }
    void release() {
      if (Slots* slots = std::exchange(slots_, nullptr)) slots->give_back();
    }

   private:
    Slots* slots_;
  };

  // Canceled or DeadlineExceeded when the wait is ended by `context`.
  Result<Slot> take(const Context& context) {
    auto state = state_.lock();
    const uint64_t ticket = state->next_ticket++;
    state->line.push_back(ticket);
    auto mine = [&] { return state->free > 0 && state->line.front() == ticket; };
    if (context.deadline()) {
      state.wait_until(changed_, context.stop_token(), *context.deadline(), mine);
    } else {
      state.wait(changed_, context.stop_token(), mine);
    }
    const bool got = mine();
    std::erase(state->line, ticket);
    if (got) --state->free;
    changed_.notify_all();
    if (got) return Slot(this);
    return std::unexpected(context.check().error());
  }

 private:
  void give_back() {
    ++state_.lock()->free;
    changed_.notify_all();
  }

  struct State {
    int free = 0;
    uint64_t next_ticket = 0;
    std::vector<uint64_t> line;
  };
  Guarded<State> state_;
  std::condition_variable_any changed_;
};

}  // namespace skiff::image
