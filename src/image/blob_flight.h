// A blob on its way into the content store: fetched in pieces over several connections, hashed as
// its contiguous prefix grows, and readable from its first byte on while the rest is still coming.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/guarded.h"
#include "content/content_store.h"
#include "image/flight.h"
#include "image/internal.h"
#include "image/trace.h"
#include "registry/registry.h"

namespace skiff::image {

// What a blob's flight shares with those who read along. Thread-safe.
class BlobState {
 public:
  BlobState(metadata::Store& store, uint64_t size)
      : lease(store, Context().with_namespace(kFlightNamespace)), size_(size) {}

  uint64_t size() const { return size_; }
  // Bytes that are here, for progress.
  uint64_t readable() const { return readable_.load(std::memory_order_relaxed); }
  // Bytes that came over the network in this flight.
  uint64_t fetched() const { return fetched_.load(std::memory_order_relaxed); }

  // Reads what is here at `offset`, waiting for at least one byte; 0 at the end. The flight's error
  // when it failed first.
  Result<size_t> read_at(const Context& context, MutableBytes buffer, uint64_t offset);

  // For the flight itself.
  void set_ingest(std::shared_ptr<content::Ingest> ingest);
  void set_reader(std::shared_ptr<content::BlobReader> reader);
  void grow(uint64_t readable);
  void add_fetched(uint64_t bytes) { fetched_.fetch_add(bytes, std::memory_order_relaxed); }
  void fail_with(const Error& error);
  std::vector<Span> spans();
  void add_span(Span span) { shared_.lock()->spans.push_back(std::move(span)); }

  // Keeps the blob's row until the last seat is left.
  const HeldLease lease;

 private:
  struct Shared {
    std::shared_ptr<content::Ingest> ingest;
    std::shared_ptr<content::BlobReader> reader;
    uint64_t readable = 0;
    std::optional<Error> error;
    std::vector<Span> spans;
  };
  const uint64_t size_;
  std::atomic<uint64_t> readable_{0};
  std::atomic<uint64_t> fetched_{0};
  Guarded<Shared> shared_;
  std::condition_variable_any changed_;
};

struct BlobLanded {};

class BlobFlights {
 public:
  using Group = Flights<BlobState, registry::FetcherPtr, BlobLanded>;
  using Seat = Group::Seat;

  BlobFlights(const ImageService::Parts& parts)
      : parts_(parts), fetch_slots_(parts.limits.layer_fetches) {}

  // A seat on the descriptor's blob; a null fetcher joins without an offer. When the flight ends
  // well the blob stands in the flights' namespace until the last seat is left: take it over
  // before.
  Seat join(const oci::Descriptor& descriptor, registry::FetcherPtr fetcher);

  // Makes sure that the blob is there under the context's namespace and lease, by sharing what any
  // namespace holds or by a flight. For manifests and configurations: bounded, small.
  Status ensure(const Context& context, const oci::Descriptor& descriptor,
                registry::FetcherPtr fetcher, const metadata::Labels& labels);

 private:
  Result<BlobLanded> fly(const Context& context, const Group::Control& control,
                         const oci::Descriptor& descriptor);
  Result<std::shared_ptr<content::Ingest>> begin(const Context& context, BlobState& state,
                                                 const oci::Descriptor& descriptor);
  Status fetch_and_hash(const Context& context, const Group::Control& control,
                        const oci::Descriptor& descriptor,
                        const std::shared_ptr<content::Ingest>& ingest);

  ImageService::Parts parts_;
  Slots fetch_slots_;
  Group group_;
};

// Reads a blob along with its flight. `state` is kept alive.
class FlightSource : public ByteSource {
 public:
  FlightSource(const Context& context, std::shared_ptr<BlobState> state)
      : context_(context), state_(std::move(state)) {}
  Result<size_t> read(MutableBytes buffer) override {
    size_t n = SKIFF_TRY(state_->read_at(context_, buffer, offset_));
    offset_ += n;
    return n;
  }

 private:
  Context context_;
  std::shared_ptr<BlobState> state_;
  uint64_t offset_ = 0;
};

}  // namespace skiff::image
