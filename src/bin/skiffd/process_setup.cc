#include "bin/skiffd/process_setup.h"

#include <atomic>
#include <chrono>
#include <csignal>

#include <malloc.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "sys/event_loop.h"

namespace skiff::daemon {
namespace {

constexpr auto kReleaseDelay = std::chrono::seconds(3);

void set_oom_score(int64_t score) {
  if (score == 0) return;
  Status set = sys::write_file("/proc/self/oom_score_adj", std::to_string(score));
  if (!set) log::warning("OOM score left as it is", {{"wanted", score}, {"error", set.error()}});
}

// Soft limits of open files are low for select(2)'s sake, which nobody here uses. Containers get
// limits of their own.
void raise_open_files() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// Few arenas, and buffers straight from the kernel: what a pull needed goes back after it.
void tune_allocator() {
  mallopt(M_ARENA_MAX, 2);
  mallopt(M_MMAP_THRESHOLD, 128 << 10);
  mallopt(M_TRIM_THRESHOLD, 1 << 20);
}

void give_up(int) {
  static constexpr char kText[] = "skiffd: did not stop in time, giving up\n";
  (void)!write(2, kText, sizeof kText - 1);
  _exit(1);
}

}  // namespace

void set_up_process(const Settings& settings) {
  tune_allocator();
  umask(022);
  raise_open_files();
  set_oom_score(settings.oom_score);
}

void release_memory() { malloc_trim(0); }

void release_memory_soon() {
  static std::atomic<bool> waiting{false};
  auto loop = sys::shared_event_loop();
  if (!loop || waiting.exchange(true)) return;
  auto timer = (*loop)->after(kReleaseDelay, [] {
    waiting = false;
    release_memory();
  });
  if (!timer) waiting = false;
}

void bound_stop(unsigned seconds) {
  std::signal(SIGALRM, give_up);
  alarm(seconds);
}

}  // namespace skiff::daemon
