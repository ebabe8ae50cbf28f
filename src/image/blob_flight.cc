#include "image/blob_flight.h"

#include <thread>

#include "base/log.h"
#include "base/metrics/metrics.h"
#include "codec/hash.h"
#include "image/pieces.h"

namespace skiff::image {
namespace {

// How far the pieces of one blob may run ahead of its contiguous prefix.
constexpr uint64_t kWindowBytes = 32 << 20;
constexpr size_t kHashBufferBytes = 512 << 10;

// Stores what a fetch brings for one piece; remembers its own errors, which are not the registry's.
class PieceSink : public ByteSink {
 public:
  PieceSink(Pieces& pieces, Pieces::Piece& piece, content::Ingest& ingest, BlobState& state)
      : pieces_(pieces), piece_(piece), ingest_(ingest), state_(state) {}

  Status write(Bytes bytes) override {
    Status stored = ingest_.write_at(bytes, piece_.begin + piece_.done);
    if (!stored) {
      error_ = stored.error();
      return stored;
    }
    piece_.done += bytes.size();
    state_.add_fetched(bytes.size());
    pieces_.add(piece_.begin, bytes.size());
    return ok();
  }
  const std::optional<Error>& error() const { return error_; }

 private:
  Pieces& pieces_;
  Pieces::Piece& piece_;
  content::Ingest& ingest_;
  BlobState& state_;
  std::optional<Error> error_;
};

// One connection's work: takes pieces until none is left, going on with the next caller's fetcher
// where one is refused.
class Worker {
 public:
  Worker(const Context& context, const BlobFlights::Group::Control& control,
         const oci::Descriptor& descriptor, Pieces& pieces, content::Ingest& ingest)
      : context_(context),
        control_(control),
        descriptor_(descriptor),
        pieces_(pieces),
        ingest_(ingest) {}

  void run() {
    while (auto piece = pieces_.take(context_))
      if (Status fetched = fetch(*piece); !fetched) return pieces_.fail_with(fetched.error());
  }

 private:
  Status fetch(Pieces::Piece& piece) {
    PieceSink sink(pieces_, piece, ingest_, control_.state());
    std::optional<Error> last;
    while (piece.begin + piece.done < piece.end) {
      auto offer = control_.offer_or_close();
      if (!offer)
        return std::unexpected(last.value_or(
            Error(Code::kUnavailable,
                  fmt::format("blob {}: nobody who wants it can fetch it", descriptor_.digest))));
      const uint64_t offset = piece.begin + piece.done;
      Status fetched = offer->offer->fetch(context_, descriptor_,
                                           {.offset = offset, .length = piece.end - offset}, sink);
      if (sink.error()) return std::unexpected(*sink.error());
      if (fetched) continue;
      if (context_.stopped() || !worth_another_offer(fetched.error())) return fetched;
      last = fetched.error();
      control_.turn_down(offer->seat, fetched.error());
    }
    return ok();
  }

  const Context& context_;
  const BlobFlights::Group::Control& control_;
  const oci::Descriptor& descriptor_;
  Pieces& pieces_;
  content::Ingest& ingest_;
};

// Follows the prefix, hashing it and telling the readers along.
Result<Digest> hash_prefix(const Context& context, Pieces& pieces, content::Ingest& ingest,
                           BlobState& state, DigestAlgorithm algorithm) {
  codec::Hasher hasher(algorithm);
  auto buffer = std::make_unique_for_overwrite<std::byte[]>(kHashBufferBytes);
  uint64_t hashed = 0;
  while (hashed < state.size()) {
    const uint64_t prefix = SKIFF_TRY(pieces.wait_past(context, hashed));
    state.grow(prefix);
    while (hashed < prefix) {
      const auto want = std::min<uint64_t>(kHashBufferBytes, prefix - hashed);
      size_t n = SKIFF_TRY(ingest.read_at({buffer.get(), static_cast<size_t>(want)}, hashed));
      if (n == 0)
        return fail(Code::kDataLoss, "the ingest ends at byte {} of {}", hashed, state.size());
      hasher.update({buffer.get(), n});
      hashed += n;
    }
    SKIFF_TRY(ingest.advance(prefix));
  }
  return hasher.finish();
}

}  // namespace

Result<size_t> BlobState::read_at(const Context& context, MutableBytes buffer, uint64_t offset) {
  std::shared_ptr<content::Ingest> ingest;
  std::shared_ptr<content::BlobReader> reader;
  uint64_t readable = 0;
  {
    auto shared = shared_.lock();
    shared.wait(changed_, context.stop_token(), [&] {
      return shared->reader || shared->error || shared->readable > offset || offset >= size_;
    });
    if (offset >= size_) return 0;
    if (!shared->reader && shared->readable <= offset) {
      if (shared->error) return std::unexpected(*shared->error);
      return std::unexpected(context.check().error());
    }
    reader = shared->reader;
    ingest = shared->ingest;
    readable = shared->readable;
  }
  if (reader) return reader->read_at(buffer, offset);
  if (!ingest) return fail(Code::kUnavailable, "the blob's fetch was given up");
  return ingest->read_at(buffer.first(std::min<uint64_t>(buffer.size(), readable - offset)),
                         offset);
}

void BlobState::set_ingest(std::shared_ptr<content::Ingest> ingest) {
  shared_.lock()->ingest = std::move(ingest);
}

void BlobState::set_reader(std::shared_ptr<content::BlobReader> reader) {
  auto shared = shared_.lock();
  shared->reader = std::move(reader);
  shared->readable = size_;
  readable_ = size_;
  changed_.notify_all();
}

void BlobState::grow(uint64_t readable) {
  auto shared = shared_.lock();
  shared->readable = std::max(shared->readable, readable);
  readable_ = shared->readable;
  changed_.notify_all();
}

void BlobState::fail_with(const Error& error) {
  shared_.lock()->error = error;
  changed_.notify_all();
}

std::vector<Span> BlobState::spans() { return shared_.lock()->spans; }

BlobFlights::Seat BlobFlights::join(const oci::Descriptor& descriptor,
                                    registry::FetcherPtr fetcher) {
  std::optional<registry::FetcherPtr> offer;
  if (fetcher) offer = std::move(fetcher);
  return group_.join(
      descriptor.digest.str(), std::move(offer),
      [&] { return std::make_shared<BlobState>(parts_.store, descriptor.size); },
      [this, descriptor](const Context& context, const Group::Control& control) {
        auto landed = fly(context, control, descriptor);
        // The ingest goes at once: the next flight of this blob may begin before all seats are
        // left.
        control.state().set_ingest(nullptr);
        if (!landed) control.state().fail_with(landed.error());
        return landed;
      });
}

Status BlobFlights::ensure(const Context& context, const oci::Descriptor& descriptor,
                           registry::FetcherPtr fetcher, const metadata::Labels& labels) {
  if (!parts_.limits.isolated && parts_.content.share(context, descriptor.digest, labels))
    return ok();
  Seat seat = join(descriptor, std::move(fetcher));
  SKIFF_TRY(seat.wait(context));
  SKIFF_TRY(parts_.content.share(context, descriptor.digest, labels));
  return ok();
}

Result<BlobLanded> BlobFlights::fly(const Context& context, const Group::Control& control,
                                    const oci::Descriptor& descriptor) {
  BlobState& state = control.state();
  SKIFF_TRY(state.lease.status());
  const Context mine = under(context, state.lease);
  if (parts_.content.share(mine, descriptor.digest, {})) {
    state.set_reader(SKIFF_TRY(parts_.content.open(mine, descriptor.digest)));
    return BlobLanded{};
  }
  const auto waiting = TraceClock::now();
  auto slot = SKIFF_TRY(fetch_slots_.take(context));
  const auto begin_time = TraceClock::now();
  state.add_span({"wait", waiting, begin_time - waiting});

  auto ingest = SKIFF_TRY(begin(mine, state, descriptor));
  SKIFF_TRY_WRAP(fetch_and_hash(mine, control, descriptor, ingest), "fetch {}", descriptor.digest);
  state.add_span({"fetch", begin_time, TraceClock::now() - begin_time});
  state.set_reader(SKIFF_TRY(parts_.content.open(mine, descriptor.digest)));
  if (parts_.note_written) parts_.note_written();
  static metrics::Counter& bytes =
      metrics::counter("skiff_image_fetched_bytes_total", "Bytes of blobs fetched from registries");
  bytes.increment(static_cast<double>(state.fetched()));
  return BlobLanded{};
}

Result<std::shared_ptr<content::Ingest>> BlobFlights::begin(const Context& context,
                                                            BlobState& state,
                                                            const oci::Descriptor& descriptor) {
  std::shared_ptr<content::Ingest> ingest =
      SKIFF_TRY(parts_.content.ingest(context, "blob-" + descriptor.digest.str(),
                                      {.digest = descriptor.digest, .size = descriptor.size}));
  if (ingest->offset() > descriptor.size) SKIFF_TRY(ingest->truncate(0));
  state.set_ingest(ingest);
  return ingest;
}

Status BlobFlights::fetch_and_hash(const Context& context, const Group::Control& control,
                                   const oci::Descriptor& descriptor,
                                   const std::shared_ptr<content::Ingest>& ingest) {
  BlobState& state = control.state();
  const uint64_t start = ingest->offset();
  const uint64_t missing = descriptor.size - start;
  // A small blob is one piece; so is one from a host that does not know ranges.
  auto offer = control.offer_or_close();
  const bool whole =
      missing < 2 * parts_.limits.piece_bytes || !offer || !offer->offer->supports_ranges();
  const uint64_t piece_bytes = whole ? std::max<uint64_t>(missing, 1) : parts_.limits.piece_bytes;
  Pieces pieces(start, descriptor.size, piece_bytes, kWindowBytes);

  std::stop_source stop_workers;
  std::stop_callback chain(context.stop_token(), [&] { stop_workers.request_stop(); });
  const Context working = context.with_stop(stop_workers.get_token());
  std::vector<std::jthread> workers;
  const uint64_t count =
      std::min<uint64_t>(static_cast<uint64_t>(parts_.limits.connections_per_blob),
                         (missing + piece_bytes - 1) / piece_bytes);
  for (uint64_t i = 0; i < count; ++i)
    workers.emplace_back([&] { Worker(working, control, descriptor, pieces, *ingest).run(); });

  auto digest = hash_prefix(context, pieces, *ingest, state, descriptor.digest.algorithm());
  stop_workers.request_stop();
  workers.clear();
  if (!digest) return std::unexpected(digest.error());
  SKIFF_TRY(ingest->commit(context, {.digest = descriptor.digest, .size = descriptor.size},
                           {.durability = metadata::Durability::kRides, .computed = *digest}));
  return ok();
}

}  // namespace skiff::image
