// What a pull, push or load shows while it runs: on a terminal bars that are redrawn in place, for
// one operation a line a layer, for several a line each; elsewhere a line whenever something
// changes. Thread-safe.
#pragma once

#include <chrono>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "base/guarded.h"
#include "serve/native/api.h"

namespace skiff::cli {

struct ScreenSize {
  size_t columns = 80, rows = 24;
};

// One operation as it stands.
struct ProgressItem {
  std::string title;
  native::Progress progress;
  double bytes_per_second = 0;  // 0: not known
  bool finished = false;
};

// The lines that stand for the unfinished items; none is wider than the screen, and all together
// leave its last row free.
std::vector<std::string> render_progress(const std::vector<ProgressItem>& items, ScreenSize screen);

class ProgressView {
 public:
  enum class Style { kSilent, kPlain, kTerminal };
  // The style that suits a descriptor.
  static Style style_for(int fd, bool quiet);

  // `fd` stays the caller's.
  ProgressView(Style style, int fd) : style_(style), fd_(fd) {}
  // Takes what is still drawn off the screen.
  ~ProgressView();

  size_t add(std::string title);
  void update(size_t item, native::Progress progress);
  // The item is shown no longer; `line` stays in its place. Empty: nothing does.
  void finish(size_t item, const std::string& line);
  // The same, with a complaint on stderr in its place.
  void fail(size_t item, std::string_view message);

 private:
  using Clock = std::chrono::steady_clock;
  struct Rate {
    std::deque<std::pair<Clock::time_point, uint64_t>> samples;
    double add(Clock::time_point now, uint64_t bytes);
  };
  struct State {
    std::vector<ProgressItem> items;
    std::vector<Rate> rates;
    size_t drawn = 0;
    Clock::time_point last_draw{};
  };

  void draw(State& state, const std::string& above, bool force);
  void clear(State& state);
  void print_changes(const State& state, size_t item, const native::Progress& next);
  void write(const std::string& text);

  const Style style_;
  const int fd_;
  Guarded<State> state_;
};

}  // namespace skiff::cli
