// Single flight: work that many callers want at once is done once.
//
// A flight runs on a thread of its own and belongs to no caller. Whoever wants its result takes a
// seat; the flight is stopped when the last seat is given back before its end. A seat may bring an
// offer (for a blob: the caller's own way to fetch it). A flight that finds an offer bad gives that
// seat its own error and goes on with the next offer; the others do not notice.
//
// A key whose flight has ended or was abandoned starts a new one, which begins only when the old
// one's thread is through, so two never work on one key at the same time.
//
// Thread-safe. Waiters sleep on their flight's own condition and are woken when it ends.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>

#include "base/context.h"
#include "base/guarded.h"

namespace skiff::image {

// State is shared between the flight and its seats and goes with the last of them.
template <typename State, typename Offer, typename Value>
class Flights {
  struct Flight;

 public:
  // The flight as its own work sees it.
  class Control {
   public:
    State& state() const { return *flight_->state; }
    // Copy of the state's pointer, for helpers that outlive a scope.
    std::shared_ptr<State> shared_state() const { return flight_->state; }

    struct Chosen {
      int seat;
      Offer offer;
    };
    // The first offer not yet turned down; when none is left the flight takes no more seats (a
    // later caller starts a new one, so nobody gets an error that is another's) and this is
    // nullopt.
    std::optional<Chosen> offer_or_close() const {
      auto map = owner_->map_.lock();
      for (auto& [seat, offer] : flight_->offers)
        if (offer && !flight_->turned_down.contains(seat)) return Chosen{seat, *offer};
      owner_->take_off(*map, *flight_);
      return std::nullopt;
    }
    // Ends one seat's wait with its own error.
    void turn_down(int seat, const Error& error) const {
      auto map = owner_->map_.lock();
      if (flight_->turned_down.insert(seat).second && flight_->offers.contains(seat))
        flight_->errors.emplace(seat, error);
      flight_->changed.notify_all();
    }

   private:
    friend class Flights;
    Control(Flights* owner, Flight* flight) : owner_(owner), flight_(flight) {}
    Flights* owner_;
    Flight* flight_;
  };
  using Run = std::function<Result<Value>(const Context&, Control)>;

  // A caller's place on a flight; move-only. Giving it back is leaving.
  class Seat {
   public:
    Seat() = default;
    Seat(Seat&& other) noexcept
        : owner_(std::exchange(other.owner_, nullptr)),
          flight_(std::move(other.flight_)),
          id_(other.id_) {}
    Seat& operator=(Seat&& other) noexcept {
      leave();
      owner_ = std::exchange(other.owner_, nullptr);
      flight_ = std::move(other.flight_);
      id_ = other.id_;
      return *this;
    }
    ~Seat() { leave(); }

    explicit operator bool() const { return owner_ != nullptr; }
    State& state() const { return *flight_->state; }
    std::shared_ptr<State> shared_state() const { return flight_->state; }

    // The flight's result, this seat's own error, or Canceled/DeadlineExceeded by `context`.
    Result<Value> wait(const Context& context) const {
      auto map = owner_->map_.lock();
      auto ready = [&] { return flight_->outcome || flight_->errors.contains(id_); };
      if (context.deadline()) {
        map.wait_until(flight_->changed, context.stop_token(), *context.deadline(), ready);
      } else {
        map.wait(flight_->changed, context.stop_token(), ready);
      }
      if (auto own = flight_->errors.find(id_); own != flight_->errors.end())
        return std::unexpected(own->second);
      if (flight_->outcome) return *flight_->outcome;
      if (auto ended = context.check(); !ended) return std::unexpected(ended.error());
      return fail(Code::kInternal, "a flight's wait ended without a result");
    }

    // Waits at most that long; true when `wait` would return at once.
    bool poll(const Context& context, std::chrono::milliseconds longest) const {
      auto map = owner_->map_.lock();
      return map.wait_until(flight_->changed, context.stop_token(),
                            std::chrono::steady_clock::now() + longest,
                            [&] { return flight_->outcome || flight_->errors.contains(id_); });
    }

    void leave() {
      if (owner_ == nullptr) return;
      std::exchange(owner_, nullptr)->leave(*flight_, id_);
      flight_.reset();
    }

   private:
    friend class Flights;
    Seat(Flights* owner, std::shared_ptr<Flight> flight, int id)
        : owner_(owner), flight_(std::move(flight)), id_(id) {}
    Flights* owner_ = nullptr;
    std::shared_ptr<Flight> flight_;
    int id_ = 0;
  };

  Flights() = default;
  // Every seat must be given back by then; waits for the flights' threads.
  ~Flights() {
    auto map = map_.lock();
    map.wait(idle_, [&] { return map->running == 0; });
  }

  // Takes a seat on the key's flight, starting it when there is none. `state` makes a new flight's
  // state and `run` is its work; both are dropped when a flight is under way already.
  Seat join(const std::string& key, std::optional<Offer> offer,
            const std::function<std::shared_ptr<State>()>& state, Run run) {
    auto map = map_.lock();
    auto& slot = map->flights[key];
    const bool start = !slot || slot->closed;
    if (start) {
      auto flight = std::make_shared<Flight>();
      flight->key = key;
      flight->state = state();
      if (slot) flight->previous = slot;
      slot = std::move(flight);
    }
    std::shared_ptr<Flight> flight = slot;
    int id = flight->next_seat++;
    flight->offers.emplace(id, std::move(offer));
    if (start) {
      ++map->running;
      std::thread([this, flight, run = std::move(run)]() mutable {
        fly(std::move(flight), run);
      }).detach();
    }
    return Seat(this, std::move(flight), id);
  }

 private:
  struct Flight {
    std::string key;
    std::shared_ptr<State> state;
    std::shared_ptr<Flight> previous;  // still landing; its thread must end first
    std::stop_source stop;
    std::condition_variable_any changed;
    // All below is guarded by the Flights' map.
    std::map<int, std::optional<Offer>> offers;  // by seat; a seat that left is gone
    std::set<int> turned_down;
    std::map<int, Error> errors;
    std::optional<Result<Value>> outcome;
    int next_seat = 0;
    bool closed = false;  // takes no more seats
    bool landed = false;  // its thread is through
  };
  struct Map {
    std::map<std::string, std::shared_ptr<Flight>> flights;
    int running = 0;
  };

  // With the map locked: later callers of the key start a new flight.
  void take_off(Map&, Flight& flight) { flight.closed = true; }

  void fly(std::shared_ptr<Flight> flight, const Run& run) {
    wait_for_previous(*flight);
    land(*flight, run(Context().with_stop(flight->stop.get_token()), Control(this, flight.get())));
    flight.reset();  // the state may end here, and may still need what outlives this object
    auto map = map_.lock();
    if (--map->running == 0) idle_.notify_all();
  }

  void land(Flight& flight, Result<Value> outcome) {
    auto map = map_.lock();
    flight.outcome = std::move(outcome);
    flight.closed = true;
    flight.landed = true;
    if (auto slot = map->flights.find(flight.key);
        slot != map->flights.end() && slot->second.get() == &flight)
      map->flights.erase(slot);
    flight.changed.notify_all();
  }

  void wait_for_previous(Flight& flight) {
    if (!flight.previous) return;
    auto map = map_.lock();
    map.wait(flight.previous->changed, [&] { return flight.previous->landed; });
    flight.previous.reset();
  }

  void leave(Flight& flight, int id) {
    auto map = map_.lock();
    flight.offers.erase(id);
    if (!flight.offers.empty() || flight.landed) return;
    flight.closed = true;
    flight.stop.request_stop();
  }

  Guarded<Map> map_;
  std::condition_variable_any idle_;
};

}  // namespace skiff::image
