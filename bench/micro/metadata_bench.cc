// How fast the metadata store commits and lists, beside what the disk does by itself.
//
//   metadata_bench [--dir DIR] [--seconds N] [--json]
//
// Commits: N threads, each making one durable transaction after the other (one row of 256 bytes),
// against N threads that append 256 bytes to a file of their own and fdatasync it; both in short
// turns, one after the other, on the same disk, medians of the turns. Lists: 10,000 images, a
// filter on a label that 100 of them match.
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <fmt/core.h>

#include "base/check.h"
#include "metadata/rows.h"
#include "metadata/store.h"
#include "sys/file.h"

namespace skiff {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::duration;

const CrashPoint kCommit{"bench.metadata.commit"};
constexpr size_t kRecord = 256;
constexpr int kTurns = 5;
constexpr int kImages = 10000;

struct Options {
  std::string dir;
  double seconds = 5;  // for each of the two sides at each number of threads
  bool json = false;
  std::vector<int> threads = {1, 8, 64};
};

void must(const Status& status) {
  if (status) return;
  fmt::print(stderr, "metadata_bench: {}\n", status.error().message());
  std::exit(1);
}

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  auto seconds = [](timeval t) { return double(t.tv_sec) + double(t.tv_usec) / 1e6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Runs `step(thread)` on all threads for a time; steps a second.
double rate(int threads, double seconds, const std::function<void(int)>& step) {
  std::atomic<uint64_t> steps = 0;
  auto begin = Clock::now();
  auto end = begin + std::chrono::duration_cast<Clock::duration>(duration<double>(seconds));
  {
    std::vector<std::jthread> pool;
    for (int i = 0; i < threads; ++i)
      pool.emplace_back([&, i] {
        uint64_t mine = 0;
        for (; Clock::now() < end; ++mine) step(i);
        steps += mine;
      });
  }
  return double(steps) / duration<double>(Clock::now() - begin).count();
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

// Logs that are appended to and synced; one for all threads, where a commit waits for the one
// before it, or one a thread, where the file system may sync several at once.
class Raw {
 public:
  Raw(const sys::Path& dir, int files) {
    for (int i = 0; i < files; ++i) {
      auto fd = sys::open_file(dir / fmt::format("raw-{}", i), O_WRONLY | O_CREAT | O_APPEND);
      SKIFF_CHECK(fd, "a file can be made");
      files_.push_back(*std::move(fd));
    }
  }
  void step(int thread) {
    std::unique_lock<std::mutex> in_order(mutex_, std::defer_lock);
    if (files_.size() == 1) in_order.lock();
    int fd = files_[static_cast<size_t>(thread) % files_.size()].get();
    must(sys::write_fd(fd, as_bytes(record_)));
    SKIFF_CHECK(fdatasync(fd) == 0, "a file can be synced");
  }

 private:
  std::mutex mutex_;
  std::vector<sys::UniqueFd> files_;
  std::string record_ = std::string(kRecord, 'r');
};

void commit(metadata::Store& store, const std::string& record) {
  must(store.write(Context(), kCommit, metadata::Durability::kDurable,
                   [&](metadata::Transaction& txn) -> Status {
                     SKIFF_TRY(metadata::intents::put(txn, "bench", record));
                     return ok();
                   }));
}

struct CommitResult {
  int threads = 0;
  double store = 0;
  double raw = 0;
  double parallel = 0;
  double cpu_us = 0;  // of ours, a commit
};

CommitResult measure_commits(metadata::Store& store, const sys::Path& dir, int threads,
                             const Options& options) {
  Raw log(dir, 1), logs(dir, threads);
  std::string record(kRecord, 'm');
  std::vector<double> ours, raw, parallel;
  double turn = options.seconds / kTurns;
  double cpu = 0;
  // Brings the store's log to its stable size.
  rate(threads, turn, [&](int) { commit(store, record); });
  for (int i = 0; i < kTurns; ++i) {
    double before = cpu_seconds();
    ours.push_back(rate(threads, turn, [&](int) { commit(store, record); }));
    cpu += (cpu_seconds() - before) / (ours.back() * turn) / kTurns;
    raw.push_back(rate(threads, turn, [&](int thread) { log.step(thread); }));
    parallel.push_back(rate(threads, turn, [&](int thread) { logs.step(thread); }));
  }
  return {threads, median(ours), median(raw), median(parallel), cpu * 1e6};
}

struct ListResult {
  double filtered_ms = 0;
  double all_ms = 0;
  size_t matches = 0;
};

ListResult measure_lists(metadata::Store& store) {
  must(store.write(Context(), kCommit, metadata::Durability::kDurable,
                   [&](metadata::Transaction& txn) -> Status {
                     for (int i = 0; i < kImages; ++i) {
                       metadata::Image image;
                       image.name = fmt::format("registry.example/team/image-{:05}:latest", i);
                       std::string hex = fmt::format("{:064x}", i);
                       image.digest = Digest::from_hex(DigestAlgorithm::kSha256, hex);
                       image.target =
                           fmt::format(R"({{"mediaType":"application/vnd.oci.image.index.v1+json",)"
                                       R"("digest":"sha256:{}","size":1234}})",
                                       hex);
                       image.labels = {{"io.cri-containerd.image", "managed"},
                                       {"org.example/rack", fmt::format("rack-{}", i % 100)},
                                       {"org.example/team", "storage"}};
                       SKIFF_TRY(metadata::images::put(txn, "bench", image));
                     }
                     return ok();
                   }));
  ListResult result;
  auto time = [&](const std::vector<std::string>& filters) {
    std::vector<double> times;
    for (int i = 0; i < 15; ++i) {
      auto begin = Clock::now();
      must(store.read(Context(), [&](metadata::Reader& reader) -> Status {
        result.matches = SKIFF_TRY(metadata::images::list(reader, "bench", filters)).size();
        return ok();
      }));
      times.push_back(duration<double, std::milli>(Clock::now() - begin).count());
    }
    return median(times);
  };
  result.all_ms = time({});
  result.filtered_ms = time({R"(labels."org.example/rack"==rack-42,name~=^registry)"});
  return result;
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    std::string_view argument = argv[i];
    if (argument == "--json") {
      options.json = true;
    } else if (argument == "--dir" && i + 1 < argc) {
      options.dir = argv[++i];
    } else if (argument == "--threads" && i + 1 < argc) {
      options.threads = {std::atoi(argv[++i])};
    } else if (argument == "--seconds" && i + 1 < argc) {
      options.seconds = std::atof(argv[++i]);
    } else {
      fmt::print(stderr, "usage: metadata_bench [--dir DIR] [--seconds N] [--json]\n");
      std::exit(2);
    }
  }
  return options;
}

void print(const Options& options, const std::vector<CommitResult>& commits,
           const ListResult& lists) {
  if (options.json) {
    std::string text;
    for (const CommitResult& c : commits)
      text += fmt::format(
          R"({}{{"threads":{},"commits_per_second":{:.0f},"raw_per_second":{:.0f},"ratio":{:.2f},)"
          R"("cpu_us_per_commit":{:.1f}}})",
          text.empty() ? "" : ",", c.threads, c.store, c.raw, c.store / c.raw, c.cpu_us);
    fmt::print(
        R"({{"commits":[{}],"list":{{"images":{},"matches":{},"filtered_ms":{:.2f},"all_ms":{:.2f}}}}})"
        "\n",
        text, kImages, lists.matches, lists.filtered_ms, lists.all_ms);
    return;
  }
  for (const CommitResult& c : commits)
    fmt::print(
        "{:3} threads: {:8.0f} commits/s, append + fdatasync {:8.0f}/s: {:.2f}x (a log a thread "
        "{:8.0f}/s: {:.2f}x); {:.1f} us CPU a commit\n",
        c.threads, c.store, c.raw, c.store / c.raw, c.parallel, c.store / c.parallel, c.cpu_us);
  fmt::print("list of {} images: filtered {:.2f} ms ({} match), all {:.2f} ms\n", kImages,
             lists.filtered_ms, lists.matches, lists.all_ms);
}

int run(int argc, char** argv) {
  Options options = parse(argc, argv);
  sys::TempDir dir("metadata-bench-", options.dir);
  auto store = metadata::Store::open(dir.path() / "metadata.db", {});
  if (!store) must(std::unexpected(store.error()));
  std::vector<CommitResult> commits;
  for (int threads : options.threads)
    commits.push_back(measure_commits(**store, dir.path(), threads, options));
  print(options, commits, measure_lists(**store));
  return 0;
}

}  // namespace
}  // namespace skiff

int main(int argc, char** argv) { return skiff::run(argc, argv); }
