// Wire-equal stand-ins for google.protobuf's Any, Empty and Timestamp.
#pragma once

#include <chrono>
#include <string>

#include "ttrpc/message.h"

namespace skiff::ttrpc {

struct Empty {
  template <class V>
  void fields(V&) {}
};

struct Any {
  std::string type_url;
  std::string value;
  template <class V>
  void fields(V& v) {
    v(1, type_url);
    v(2, value);
  }
};

// UTC since the epoch; nanos counts forward, 0 to 999,999,999.
struct Timestamp {
  int64_t seconds = 0;
  int32_t nanos = 0;
  template <class V>
  void fields(V& v) {
    v(1, seconds);
    v(2, nanos);
  }
};

using SystemTime = std::chrono::time_point<std::chrono::system_clock, std::chrono::nanoseconds>;

inline Timestamp to_timestamp(SystemTime time) {
  auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  return {seconds.time_since_epoch().count(), static_cast<int32_t>((time - seconds).count())};
}

inline SystemTime from_timestamp(const Timestamp& timestamp) {
  return SystemTime(std::chrono::seconds(timestamp.seconds) +
                    std::chrono::nanoseconds(timestamp.nanos));
}

}  // namespace skiff::ttrpc
