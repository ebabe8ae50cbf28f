// A layer on its way to a committed snapshot: one flight by (snapshotter, chain ID).
//
// On a snapshotter that can rebase, a layer is untarred into a staging snapshot of its own while it
// is still being fetched and whatever its parents do; settling it against them and the commit
// follow in chain order. Elsewhere it is applied onto the mounted parent, bottom-up, the fetches
// still side by side. Nothing is committed before the blob's digest and the diff ID held.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "image/blob_flight.h"
#include "image/flight.h"
#include "image/internal.h"
#include "layer/applier.h"
#include "layer/pipeline.h"

namespace skiff::image {

// A layer of an image, with the stack below it.
struct LayerPlan {
  oci::Descriptor descriptor;
  Digest diff_id;
  Digest chain_id;
  std::shared_ptr<const LayerPlan> parent;  // null for the lowest
  // Where the bytes come from, for a layer that must be fetched again later.
  std::string reference;
};
using LayerPlanPtr = std::shared_ptr<const LayerPlan>;

// Lowest first. The counts agree (the caller checked).
std::vector<LayerPlanPtr> plan_layers(const std::vector<oci::Descriptor>& layers,
                                      const std::vector<Digest>& diff_ids,
                                      const std::string& reference);

// What a committed layer's row records as its source, so that the layer can be made anew or fetched
// again: {"ref", "descriptor", "diff_id"} as JSON.
struct LayerSource {
  std::string reference;
  oci::Descriptor descriptor;
  Digest diff_id;

  std::string to_json() const;
  static Result<LayerSource> parse(std::string_view text);
};
LayerSource source_of(const LayerPlan& layer);
// The same as a label, for a remote layer whose snapshotter committed it itself.
inline constexpr char kLayerSourceLabel[] = "skiff/layer.source";

class UnpackState {
 public:
  explicit UnpackState(metadata::Store& store)
      : lease(store, Context().with_namespace(kFlightNamespace)) {}
  const HeldLease lease;
  void add_span(Span span) { spans_.lock()->push_back(std::move(span)); }
  std::vector<Span> spans() { return *spans_.lock(); }

 private:
  Guarded<std::vector<Span>> spans_;
};

struct Unpacked {
  bool existed = false;  // committed before this flight began
};

class UnpackFlights {
 public:
  struct NoOffer {};
  using Group = Flights<UnpackState, NoOffer, Unpacked>;
  using Seat = Group::Seat;

  UnpackFlights(const ImageService::Parts& parts, BlobFlights& blobs);

  // A seat on the layer's unpack. When it ends well the snapshot stands in the flights' namespace
  // until the last seat is left: adopt it before. Whoever joins also holds a seat on the layer's
  // blob, with an offer, or the blob is in the store.
  Seat join(snapshot::Snapshotter& snapshotter, LayerPlanPtr layer);

  // Unpacks a layer anew into the folder of its committed snapshot, which a power loss may have
  // hurt. Nothing may stand on it yet.
  Status rebuild(const Context& context, const metadata::Snapshot& snapshot, ByteSource& blob,
                 const Digest& diff_id);

 private:
  Result<Unpacked> fly(const Context& context, const Group::Control& control,
                       snapshot::Snapshotter& snapshotter, const LayerPlanPtr& layer);
  Status unpack_staged(const Context& context, UnpackState& state,
                       snapshot::Snapshotter& snapshotter, const LayerPlan& layer,
                       const BlobFlights::Seat& blob, const Seat* parent);
  Status unpack_mounted(const Context& context, UnpackState& state,
                        snapshot::Snapshotter& snapshotter, const LayerPlan& layer,
                        const BlobFlights::Seat& blob);
  Status settle(const Context& context, UnpackState& state, snapshot::Snapshotter& snapshotter,
                const LayerPlan& layer, layer::StagedLayer& staged, int folder);
  Status wait_for_parent(const Context& context, const Seat* parent,
                         snapshot::Snapshotter& snapshotter, const LayerPlan& layer);
  // `staged` for a layer that was staged without its parent, which the commit then gives it.
  Status commit(const Context& context, UnpackState& state, snapshot::Snapshotter& snapshotter,
                const LayerPlan& layer, const std::string& key, const layer::ApplyStats* staged);
  layer::ApplyOptions apply_options() const;
  Status repair(const Context& context, const metadata::Snapshot& snapshot, const LayerPlan& layer,
                const BlobFlights::Seat& blob);
  Result<std::vector<std::string>> folders_below(const Context& context,
                                                 const metadata::Snapshot& snapshot);

  ImageService::Parts parts_;
  BlobFlights& blobs_;
  std::unique_ptr<layer::Applier> applier_;
  Slots unpack_slots_;
  Group group_;
};

// A committed chain, as any namespace may have made it.
struct FoundChain {
  std::optional<metadata::Snapshot> top;  // unset: there is none
  bool top_hurt = false;  // its own bytes were never confirmed before the machine went down
  bool hurt = false;      // its own, or an ancestor's
  bool whole() const { return top && !hurt; }
};
Result<FoundChain> find_chain(const Context& context, metadata::Store& store,
                              const std::string& snapshotter, const Digest& chain_id);

// Names the chain, ancestors included, under the context's namespace and lease, if it is whole;
// false when it is not.
Result<bool> adopt_chain(const Context& context, metadata::Store& store,
                         const std::string& snapshotter, const Digest& chain_id);

}  // namespace skiff::image
