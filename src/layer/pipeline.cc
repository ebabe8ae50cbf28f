#include "layer/pipeline.h"

#include <chrono>
#include <thread>

#include "codec/hash.h"
#include "layer/ring.h"

namespace skiff::layer {
namespace {

// Small enough that a chunk is still in the shared cache when the other thread reads it, large
// enough that the inflater seldom has to save and restore its 32 KiB of history.
constexpr size_t kChunkBytes = 512 << 10;
constexpr size_t kChunks = 4;

uint64_t now() {
  auto time = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(time).count());
}

// Adds the time it lives to a counter.
class Timer {
 public:
  explicit Timer(uint64_t& sum) : sum_(sum), start_(now()) {}
  ~Timer() { sum_ += now() - start_; }

 private:
  uint64_t& sum_;
  uint64_t start_;
};

// The blob as it comes in: timed, counted, hashed.
class BlobSource : public ByteSource {
 public:
  BlobSource(ByteSource& source, const Expected& expected, StageTimes& times)
      : source_(source),
        expected_(expected),
        times_(times),
        hasher_(expected.blob.empty() ? DigestAlgorithm::kSha256 : expected.blob.algorithm()) {}

  Result<size_t> read(MutableBytes buffer) override {
    size_t n = 0;
    {
      Timer timer(times_.wait);
      n = SKIFF_TRY(source_.read(buffer));
    }
    size_ += n;
    if (expected_.blob_size && size_ > *expected_.blob_size)
      return fail(Code::kDataLoss, "the blob {} is longer than its {} bytes", expected_.blob.str(),
                  *expected_.blob_size);
    if (!expected_.blob_is_verified) {
      Timer timer(times_.blob_hash);
      hasher_.update(buffer.first(n));
    }
    return n;
  }

  // Once the source is at its end.
  Result<Digest> check() {
    if (expected_.blob_size && size_ != *expected_.blob_size)
      return fail(Code::kDataLoss, "the blob {} has {} bytes where {} were expected",
                  expected_.blob.str(), size_, *expected_.blob_size);
    if (expected_.blob_is_verified) return expected_.blob;
    Digest digest = hasher_.finish();
    if (!expected_.blob.empty() && digest != expected_.blob)
      return fail(Code::kDataLoss, "wrong blob digest: expected {}, got {}", expected_.blob.str(),
                  digest.str());
    return digest;
  }
  uint64_t size() const { return size_; }

 private:
  ByteSource& source_;
  const Expected& expected_;
  StageTimes& times_;
  codec::Hasher hasher_;
  uint64_t size_ = 0;
};

// The plain stream as the second thread sees it: each chunk is hashed as it comes.
class HashingWindow : public codec::Window {
 public:
  HashingWindow(Ring& ring, DigestAlgorithm algorithm) : ring_(ring), hasher_(algorithm) {}

  Result<Bytes> peek() override {
    if (!rest_.empty() || ended_) return rest_;
    {
      Timer timer(starved);
      rest_ = SKIFF_TRY(ring_.next());
    }
    ended_ = rest_.empty();
    size += rest_.size();
    Timer timer(hashing);
    hasher_.update(rest_);
    return rest_;
  }
  void consume(size_t count) override { rest_ = rest_.subspan(count); }
  Digest finish() { return hasher_.finish(); }

  uint64_t starved = 0;
  uint64_t hashing = 0;
  uint64_t size = 0;

 private:
  Ring& ring_;
  codec::Hasher hasher_;
  Bytes rest_;
  bool ended_ = false;
};

// Fills chunks with plain bytes until the source ends.
Status inflate_all(const Context& context, ByteSource& plain, Ring& ring, StageTimes& times) {
  for (;;) {
    SKIFF_TRY(context.check());
    MutableBytes chunk;
    {
      Timer timer(times.full);
      chunk = SKIFF_TRY(ring.acquire());
    }
    size_t n = SKIFF_TRY(read_full(plain, chunk));
    if (n > 0) ring.publish(n);
    if (n < chunk.size()) return ok();
  }
}

Status consume_all(HashingWindow& window, const Consume& consume) {
  SKIFF_TRY(consume(window));
  for (;;) {
    Bytes rest = SKIFF_TRY(window.peek());
    if (rest.empty()) return ok();
    window.consume(rest.size());
  }
}

// What the caller hears of a failure. A bad tar in a blob that is not the one asked for is a bad
// blob.
Error tell(Error error, BlobSource& blob, const Expected& expected) {
  bool of_content = error.is(Code::kDataLoss) || error.is(Code::kInvalidArgument);
  // Without a size there is no telling how much would have to be read.
  bool known = !expected.blob.empty() && expected.blob_size && !expected.blob_is_verified;
  if (!of_content || !known) return error;
  std::byte buffer[65536];
  for (;;) {
    auto n = blob.read(buffer);
    if (!n) return error;
    if (*n == 0) break;
  }
  auto digest = blob.check();
  return digest ? error : digest.error();
}

}  // namespace

Result<Outcome> run_pipeline(const Context& context, ByteSource& source, const Expected& expected,
                             const Consume& consume) {
  Outcome outcome;
  StageTimes& times = outcome.times;
  uint64_t start = now();
  BlobSource blob(source, expected, times);
  std::unique_ptr<ByteSource> plain;
  if (expected.compression) {
    outcome.compression = *expected.compression;
    plain = codec::decompress(blob, *expected.compression);
  } else {
    auto detected = SKIFF_TRY(codec::decompress(blob));
    outcome.compression = detected.compression;
    plain = std::move(detected.source);
  }

  Ring ring(kChunks, kChunkBytes);
  HashingWindow window(
      ring, expected.diff_id.empty() ? DigestAlgorithm::kSha256 : expected.diff_id.algorithm());
  Status consumed;
  uint64_t consuming = 0;
  Status inflated;
  {
    std::jthread reader([&] {
      Timer timer(consuming);
      consumed = consume_all(window, consume);
      if (!consumed) ring.fail(consumed.error());
    });
    inflated = inflate_all(context, *plain, ring, times);
    if (inflated)
      ring.close();
    else
      ring.fail(inflated.error());
  }
  times.total = now() - start;
  times.diff_hash = window.hashing;
  times.untar = consuming - window.hashing - window.starved;
  times.inflate = times.total - std::min(times.total, times.wait + times.blob_hash + times.full);
  // Whichever half failed first broke the ring, so the other one repeats its error.
  if (!inflated) return std::unexpected(tell(std::move(inflated).error(), blob, expected));
  if (!consumed) return std::unexpected(tell(std::move(consumed).error(), blob, expected));

  outcome.blob = SKIFF_TRY(blob.check());
  outcome.blob_size = blob.size();
  outcome.diff_size = window.size;
  outcome.diff_id = window.finish();
  if (!expected.diff_id.empty() && outcome.diff_id != expected.diff_id)
    return fail(Code::kDataLoss,
                "wrong diff ID: the layer's content is {}, the image's configuration says {}",
                outcome.diff_id.str(), expected.diff_id.str());
  return outcome;
}

Result<StagedOutcome> stage_layer(const Context& context, ByteSource& blob,
                                  const Expected& expected, Applier& applier, int staging,
                                  const ApplyOptions& options) {
  StagedOutcome staged;
  staged.outcome =
      SKIFF_TRY(run_pipeline(context, blob, expected, [&](codec::Window& tar) -> Status {
        staged.layer = SKIFF_TRY(applier.apply_staged(context, tar, staging, options));
        return ok();
      }));
  return staged;
}

Result<Outcome> apply_layer(const Context& context, ByteSource& blob, const Expected& expected,
                            Applier& applier, int root, const ApplyOptions& options) {
  return run_pipeline(context, blob, expected, [&](codec::Window& tar) -> Status {
    SKIFF_TRY(applier.apply_mounted(context, tar, root, options));
    return ok();
  });
}

}  // namespace skiff::layer
