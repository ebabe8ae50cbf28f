// The time line of a pull: which layer waited, was fetched, inflated, untarred, fixed up and
// committed when. Written as Chrome trace events (chrome://tracing, Perfetto).
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace skiff::image {

using TraceClock = std::chrono::steady_clock;

// One stretch of one layer's (or the whole image's) life.
struct Span {
  std::string name;  // "wait", "fetch", "inflate", "untar", "fix-up", "commit", "resolve", ...
  TraceClock::time_point begin;
  std::chrono::nanoseconds length{};
};

struct Lane {
  std::string name;  // "sha256:ab12.. 34.5 MB", "image"
  std::vector<Span> spans;
};

// A JSON document {"traceEvents": [...]}; times count from the earliest span, in microseconds.
std::string chrome_trace(const std::vector<Lane>& lanes);

// Measures a stretch until its end of scope.
class SpanTimer {
 public:
  SpanTimer(std::vector<Span>& spans, std::string name)
      : spans_(spans), name_(std::move(name)), begin_(TraceClock::now()) {}
  ~SpanTimer() { spans_.push_back({std::move(name_), begin_, TraceClock::now() - begin_}); }
  SpanTimer(const SpanTimer&) = delete;

 private:
  std::vector<Span>& spans_;
  std::string name_;
  TraceClock::time_point begin_;
};

}  // namespace skiff::image
