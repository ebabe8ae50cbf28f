#include "image/trace.h"

#include <algorithm>

#include "codec/json/json.h"

namespace skiff::image {
namespace {

TraceClock::time_point earliest(const std::vector<Lane>& lanes) {
  auto first = TraceClock::time_point::max();
  for (const Lane& lane : lanes)
    for (const Span& span : lane.spans) first = std::min(first, span.begin);
  return first;
}

double microseconds(std::chrono::nanoseconds time) {
  return static_cast<double>(time.count()) / 1e3;
}

}  // namespace

std::string chrome_trace(const std::vector<Lane>& lanes) {
  const auto zero = earliest(lanes);
  json::Value events = json::Value::array();
  for (size_t i = 0; i < lanes.size(); ++i) {
    const auto thread = static_cast<int64_t>(i + 1);
    events.push_back(
        json::Value::object({{"name", "thread_name"},
                             {"ph", "M"},
                             {"pid", 1},
                             {"tid", thread},
                             {"args", json::Value::object({{"name", lanes[i].name}})}}));
    for (const Span& span : lanes[i].spans)
      events.push_back(json::Value::object({{"name", span.name},
                                            {"ph", "X"},
                                            {"pid", 1},
                                            {"tid", thread},
                                            {"ts", microseconds(span.begin - zero)},
                                            {"dur", microseconds(span.length)}}));
  }
  return json::dump(json::Value::object({{"traceEvents", std::move(events)}}));
}

}  // namespace skiff::image
