#include "base/crash_point.h"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include <fcntl.h>
#include <unistd.h>

namespace skiff {
namespace {

// Constant-initialised, so it is ready before any point's constructor runs.
constinit const CrashPoint* g_first = nullptr;

struct Armed {
  std::string name;
  bool after = false;
  int count = 1;
  int trace_fd = -1;
};

// Parsed on first use, which is before main: SKIFF_CRASH_AT=name:(before|after)[:count].
const Armed& armed() {
  static const Armed value = [] {
    Armed armed;
    if (const char* file = std::getenv("SKIFF_CRASH_TRACE"))
      armed.trace_fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    const char* text = std::getenv("SKIFF_CRASH_AT");
    if (text == nullptr) return armed;
    std::string_view rest = text;
    auto colon = rest.find(':');
    armed.name = rest.substr(0, colon);
    if (colon == std::string_view::npos) return armed;
    rest.remove_prefix(colon + 1);
    armed.after = rest.starts_with("after");
    if (auto second = rest.find(':'); second != std::string_view::npos)
      armed.count = std::max(1, std::atoi(rest.data() + second + 1));
    return armed;
  }();
  return value;
}

}  // namespace

CrashPoint::CrashPoint(const char* name) : name_(name), next_(g_first) {
  g_first = this;
  armed_ = armed().name == name || armed().trace_fd >= 0;
}

std::vector<const CrashPoint*> CrashPoint::all() {
  std::vector<const CrashPoint*> points;
  for (const CrashPoint* point = g_first; point != nullptr; point = point->next_)
    points.push_back(point);
  std::ranges::sort(points, [](auto* a, auto* b) { return std::strcmp(a->name_, b->name_) < 0; });
  return points;
}

void CrashPoint::hit(bool after) const {
  if (int fd = armed().trace_fd; fd >= 0) {
    if (!after) dprintf(fd, "%s\n", name_);
    if (armed().name != name_) return;
  }
  static std::atomic<int> hits{0};
  if (armed().after != after || hits.fetch_add(1) + 1 != armed().count) return;
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

}  // namespace skiff
