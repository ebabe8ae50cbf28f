// The stages of a layer one by one and together. SKIFF_BENCH_TAR names a plain tar (made from
// /usr/include and /usr/share/doc otherwise); all happens on tmpfs.
#include <benchmark/benchmark.h>

#include <cstdlib>

#include "base/check.h"
#include "codec/compression.h"
#include "codec/hash.h"
#include "codec/tar/reader.h"
#include "layer/applier.h"
#include "layer/pipeline.h"
#include "sys/file.h"

namespace {

using namespace skiff;

const std::string& tar() {
  static const std::string text = [] {
    if (const char* path = std::getenv("SKIFF_BENCH_TAR"))
      return sys::read_file(path, 4ull << 30).value();
    sys::TempDir dir("bench-", "/dev/shm");
    std::string path = dir.path() / "layer.tar";
    SKIFF_CHECK(
        std::system(fmt::format("tar -C / -cf {} usr/include usr/share/doc", path).c_str()) == 0,
        "tar works");
    return sys::read_file(path, 4ull << 30).value();
  }();
  return text;
}

const std::string& packed(codec::Compression compression) {
  static std::string blobs[3];
  std::string& blob = blobs[static_cast<int>(compression)];
  if (!blob.empty()) return blob;
  StringSink sink;
  auto compressor = codec::compress(sink, compression);
  SKIFF_CHECK(compressor->write(as_bytes(tar())) && compressor->finish(), "it compresses");
  return blob = sink.take();
}

void count(benchmark::State& state, size_t bytes) {
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * bytes));
}

void hash(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(codec::digest_of(tar()));
  count(state, tar().size());
}

void inflate(benchmark::State& state) {
  const std::string& blob = packed(static_cast<codec::Compression>(state.range(0)));
  std::string buffer(static_cast<size_t>(state.range(1)) << 10, '\0');
  for (auto _ : state) {
    MemorySource source(blob);
    auto plain = codec::decompress(source, static_cast<codec::Compression>(state.range(0)));
    while (*read_full(*plain, std::as_writable_bytes(std::span(buffer))) > 0) {
    }
  }
  count(state, tar().size());
}

void list(benchmark::State& state) {
  for (auto _ : state) {
    codec::MemoryWindow window(as_bytes(tar()));
    codec::tar::Reader reader(window);
    while (*reader.next() != nullptr) {
    }
    benchmark::DoNotOptimize(reader.entries());
  }
  count(state, tar().size());
}

void untar(benchmark::State& state) {
  auto applier = layer::make_tar_applier();
  for (auto _ : state) {
    state.PauseTiming();
    sys::TempDir dir("bench-", "/dev/shm");
    auto fd = sys::open_dir(dir.path());
    state.ResumeTiming();
    MemorySource source(tar());
    codec::BufferedWindow window(source, 512 << 10);
    SKIFF_CHECK(applier->apply_staged(Context(), window, fd->get(), {}).has_value(), "it untars");
    state.PauseTiming();
    fd->reset();
    SKIFF_CHECK(sys::remove_tree(dir.path()).has_value(), "it goes");
    state.ResumeTiming();
  }
  count(state, tar().size());
}

void pipeline(benchmark::State& state) {
  auto compression = static_cast<codec::Compression>(state.range(0));
  const std::string& blob = packed(compression);
  auto applier = layer::make_tar_applier();
  layer::StageTimes times;
  for (auto _ : state) {
    state.PauseTiming();
    sys::TempDir dir("bench-", "/dev/shm");
    auto fd = sys::open_dir(dir.path());
    state.ResumeTiming();
    MemorySource source(blob);
    auto staged = layer::stage_layer(Context(), source, {.compression = compression}, *applier,
                                     fd->get(), {});
    SKIFF_CHECK(staged.has_value(), "it unpacks");
    times = staged->outcome.times;
    state.PauseTiming();
    SKIFF_CHECK(sys::remove_tree(dir.path()).has_value(), "it goes");
    state.ResumeTiming();
  }
  count(state, tar().size());
  auto ms = [](uint64_t ns) { return static_cast<double>(ns) / 1e6; };
  state.counters["blob_hash"] = ms(times.blob_hash);
  state.counters["inflate"] = ms(times.inflate);
  state.counters["full"] = ms(times.full);
  state.counters["diff_hash"] = ms(times.diff_hash);
  state.counters["untar"] = ms(times.untar);
}

BENCHMARK(hash)->Unit(benchmark::kMillisecond);
BENCHMARK(inflate)->ArgsProduct({{1, 2}, {64, 256, 512, 1024}})->Unit(benchmark::kMillisecond);
BENCHMARK(list)->Unit(benchmark::kMillisecond);
BENCHMARK(untar)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(pipeline)
    ->DenseRange(0, 2)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime()
    ->MeasureProcessCPUTime();

}  // namespace

BENCHMARK_MAIN();
