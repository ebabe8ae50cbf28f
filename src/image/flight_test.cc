#include "image/flight.h"

#include <atomic>
#include <latch>

#include <gtest/gtest.h>

namespace skiff::image {
namespace {

using Group = Flights<int, std::string, int>;

std::shared_ptr<int> no_state() { return std::make_shared<int>(0); }

// Blocks a flight until the test opens it; ends early when the flight is stopped.
class Gate {
 public:
  bool pass(const Context& context) {
    auto open = open_.lock();
    return open.wait(changed_, context.stop_token(), [&] { return *open; });
  }
  void open() {
    *open_.lock() = true;
    changed_.notify_all();
  }

 private:
  Guarded<bool> open_;
  std::condition_variable_any changed_;
};

TEST(Flights, ManyCallersAreOneRun) {
  Group group;
  Gate gate;
  std::atomic<int> runs{0};
  std::vector<Group::Seat> seats;
  for (int i = 0; i < 20; ++i)
    seats.push_back(group.join("k", std::nullopt, no_state,
                               [&](const Context& context, Group::Control) -> Result<int> {
                                 ++runs;
                                 gate.pass(context);
                                 return 7;
                               }));
  gate.open();
  for (auto& seat : seats) EXPECT_EQ(seat.wait(Context()).value(), 7);
  EXPECT_EQ(runs, 1);
}

TEST(Flights, TheLeaderMayLeaveAndTheOthersGetTheResult) {
  Group group;
  Gate gate;
  auto run = [&](const Context& context, Group::Control) -> Result<int> {
    if (!gate.pass(context)) return fail(Code::kCanceled, "stopped");
    return 1;
  };
  auto leader = group.join("k", std::nullopt, no_state, run);
  auto other = group.join("k", std::nullopt, no_state, run);
  leader.leave();
  gate.open();
  EXPECT_EQ(other.wait(Context()).value(), 1);
}

TEST(Flights, TheLastToLeaveStopsItAndTheNextCallerStartsAnewAfterIt) {
  Group group;
  std::atomic<int> flying{0};
  std::atomic<int> most{0};
  std::latch started(1);
  auto seat = group.join("k", std::nullopt, no_state,
                         [&](const Context& context, Group::Control) -> Result<int> {
                           most = std::max(most.load(), ++flying);
                           started.count_down();
                           Gate never;
                           never.pass(context);
                           --flying;
                           return fail(Code::kCanceled, "stopped");
                         });
  started.wait();
  seat.leave();
  auto again =
      group.join("k", std::nullopt, no_state, [&](const Context&, Group::Control) -> Result<int> {
        most = std::max(most.load(), ++flying);
        --flying;
        return 2;
      });
  EXPECT_EQ(again.wait(Context()).value(), 2);
  EXPECT_EQ(most, 1);
}

TEST(Flights, AWaitEndsWithItsOwnContextAndTheFlightGoesOn) {
  Group group;
  Gate gate;
  auto run = [&](const Context& context, Group::Control) -> Result<int> {
    gate.pass(context);
    return 3;
  };
  auto seat = group.join("k", std::nullopt, no_state, run);
  auto late = seat.wait(Context().with_timeout(std::chrono::milliseconds(1)));
  EXPECT_EQ(late.error().code(), Code::kDeadlineExceeded);
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(seat.wait(Context().with_stop(stop.get_token())).error().code(), Code::kCanceled);
  gate.open();
  EXPECT_EQ(seat.wait(Context()).value(), 3);
}

// Uses offers until one is good, as the blob flight does.
Result<int> try_offers(const Group::Control& control) {
  Error last(Code::kUnavailable, "no offer");
  while (auto chosen = control.offer_or_close()) {
    if (chosen->offer == "good") return 1;
    last = Error(Code::kPermissionDenied, chosen->offer + " is refused");
    control.turn_down(chosen->seat, last);
  }
  return std::unexpected(last);
}

TEST(Flights, ABadOfferFailsItsOwnSeatOnly) {
  Group group;
  Gate gate;
  auto run = [&](const Context& context, Group::Control control) -> Result<int> {
    gate.pass(context);
    return try_offers(control);
  };
  auto bad = group.join("k", "bad", no_state, run);
  auto good = group.join("k", "good", no_state, run);
  auto silent = group.join("k", std::nullopt, no_state, run);
  gate.open();
  EXPECT_EQ(bad.wait(Context()).error().message(), "bad is refused");
  EXPECT_EQ(good.wait(Context()).value(), 1);
  EXPECT_EQ(silent.wait(Context()).value(), 1);
}

TEST(Flights, WithoutAGoodOfferEachSeatHasItsOwnError) {
  Group group;
  Gate gate;
  auto run = [&](const Context& context, Group::Control control) -> Result<int> {
    gate.pass(context);
    return try_offers(control);
  };
  auto first = group.join("k", "first", no_state, run);
  auto second = group.join("k", "second", no_state, run);
  gate.open();
  EXPECT_EQ(first.wait(Context()).error().message(), "first is refused");
  EXPECT_EQ(second.wait(Context()).error().message(), "second is refused");
}

TEST(Flights, StateLivesUntilTheLastSeatIsLeft) {
  Group group;
  std::weak_ptr<int> watched;
  auto state = [&] {
    auto made = std::make_shared<int>(5);
    watched = made;
    return made;
  };
  auto run = [](const Context&, Group::Control control) -> Result<int> { return control.state(); };
  auto seat = group.join("k", std::nullopt, state, run);
  EXPECT_EQ(seat.wait(Context()).value(), 5);
  EXPECT_FALSE(watched.expired());
  EXPECT_EQ(seat.state(), 5);
}

}  // namespace
}  // namespace skiff::image
