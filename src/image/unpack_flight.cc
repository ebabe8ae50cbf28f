#include "image/unpack_flight.h"

#include <fcntl.h>

#include <algorithm>
#include <thread>

#include "base/log.h"
#include "base/random_id.h"
#include "codec/json/json.h"
#include "image/mounted.h"

namespace skiff::image {
namespace {

const CrashPoint kAdoptChain{"image.chain.adopt"};
const CrashPoint kRewritten{"image.layer.rewritten"};

// Removes an active snapshot that did not become a committed one.
class StagingGuard {
 public:
  StagingGuard(const Context& context, snapshot::Snapshotter& snapshotter, std::string key)
      : context_(context.detached()), snapshotter_(snapshotter), key_(std::move(key)) {}
  ~StagingGuard() {
    if (key_.empty()) return;
    if (Status removed = snapshotter_.remove(context_, key_); !removed)
      log::warning("a staging snapshot could not be removed and is left to garbage collection",
                   {{"key", key_}, {"error", removed.error()}});
  }
  StagingGuard(const StagingGuard&) = delete;
  const std::string& key() const { return key_; }
  void release() { key_.clear(); }

 private:
  Context context_;
  snapshot::Snapshotter& snapshotter_;
  std::string key_;
};

std::string staging_key(const LayerPlan& layer) {
  return fmt::format("unpack-{}-{}", random_id(6), layer.chain_id);
}

void add_stage_spans(UnpackState& state, TraceClock::time_point begin,
                     const layer::StageTimes& times) {
  auto stretch = [&](const char* name, uint64_t length) {
    state.add_span({name, begin, std::chrono::nanoseconds(length)});
  };
  stretch("inflate", times.inflate);
  stretch("untar", times.untar + times.diff_hash);
}

layer::Expected expected_of(const LayerPlan& layer) {
  // The blob's own digest is the blob flight's to check; it is waited for before the commit.
  return {.blob = layer.descriptor.digest,
          .blob_size = layer.descriptor.size,
          .diff_id = layer.diff_id,
          .blob_is_verified = true};
}

// The folders of the committed chain that ends in `parent`, topmost first, through a view.
Result<std::vector<std::string>> lower_folders(const Context& context,
                                               snapshot::Snapshotter& snapshotter,
                                               const std::string& parent) {
  StagingGuard view(context, snapshotter, fmt::format("lowers-{}", random_id(8)));
  auto mounts = SKIFF_TRY(snapshotter.view(context, view.key(), parent, {}));
  auto folders = SKIFF_TRY(snapshot::layer_folders(mounts));
  std::vector<std::string> lowers;
  for (const sys::Path& lower : folders.lowers) lowers.push_back(lower.string());
  return lowers;
}

int unpack_places(int configured) {
  // More than processors, so that a layer that waits for its network keeps no other from running.
  if (configured > 0) return configured;
  return std::max(4, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace

std::vector<LayerPlanPtr> plan_layers(const std::vector<oci::Descriptor>& layers,
                                      const std::vector<Digest>& diff_ids,
                                      const std::string& reference) {
  auto chain = oci::chain_ids(diff_ids);
  std::vector<LayerPlanPtr> plan;
  LayerPlanPtr parent;
  for (size_t i = 0; i < layers.size(); ++i) {
    parent = std::make_shared<LayerPlan>(LayerPlan{.descriptor = layers[i],
                                                   .diff_id = diff_ids[i],
                                                   .chain_id = chain[i],
                                                   .parent = parent,
                                                   .reference = reference});
    plan.push_back(parent);
  }
  return plan;
}

LayerSource source_of(const LayerPlan& layer) {
  return {.reference = layer.reference, .descriptor = layer.descriptor, .diff_id = layer.diff_id};
}

std::string LayerSource::to_json() const {
  return json::dump(json::Value::object(
      {{"ref", reference}, {"descriptor", descriptor.to_json()}, {"diff_id", diff_id.str()}}));
}

Result<LayerSource> LayerSource::parse(std::string_view text) {
  auto value = SKIFF_TRY_WRAP(json::parse(text), "a layer's source");
  const json::Value* descriptor = value.find("descriptor");
  if (descriptor == nullptr)
    return fail(Code::kInvalidArgument, "a layer's source has no descriptor");
  return LayerSource{
      .reference = SKIFF_TRY(value.get_string("ref")),
      .descriptor = SKIFF_TRY(oci::Descriptor::from_json(*descriptor, "a layer's source")),
      .diff_id = SKIFF_TRY(Digest::parse(SKIFF_TRY(value.get_string("diff_id"))))};
}

UnpackFlights::UnpackFlights(const ImageService::Parts& parts, BlobFlights& blobs)
    : parts_(parts),
      blobs_(blobs),
      applier_(layer::make_tar_applier()),
      unpack_slots_(unpack_places(parts.limits.unpacks)) {}

UnpackFlights::Seat UnpackFlights::join(snapshot::Snapshotter& snapshotter, LayerPlanPtr layer) {
  return group_.join(
      snapshotter.name() + " " + layer->chain_id.str(), std::nullopt,
      [&] { return std::make_shared<UnpackState>(parts_.store); },
      [this, &snapshotter, layer](const Context& context, const Group::Control& control) {
        return fly(context, control, snapshotter, layer);
      });
}

Result<Unpacked> UnpackFlights::fly(const Context& context, const Group::Control& control,
                                    snapshot::Snapshotter& snapshotter, const LayerPlanPtr& layer) {
  UnpackState& state = control.state();
  SKIFF_TRY(state.lease.status());
  const Context mine = under(context, state.lease);
  auto adopted = [&](const LayerPlan& plan) {
    return adopt_chain(mine, parts_.store, snapshotter.name(), plan.chain_id);
  };
  if (SKIFF_TRY(adopted(*layer))) return Unpacked{.existed = true};
  auto found = SKIFF_TRY(find_chain(mine, parts_.store, snapshotter.name(), layer->chain_id));

  // Seats of our own: whoever asked for this layer may leave while others still want it.
  BlobFlights::Seat blob = blobs_.join(layer->descriptor, nullptr);
  Seat parent;
  if (layer->parent) parent = join(snapshotter, layer->parent);
  const Seat* below = layer->parent ? &parent : nullptr;

  Status done;
  if (found.top) {
    done = below == nullptr ? ok() : wait_for_parent(mine, below, snapshotter, *layer);
    if (done && found.top_hurt) done = repair(mine, *found.top, *layer, blob);
  } else if (snapshotter.capabilities().rebase) {
    done = unpack_staged(mine, state, snapshotter, *layer, blob, below);
  } else {
    done = wait_for_parent(mine, below, snapshotter, *layer);
    if (done) done = unpack_mounted(mine, state, snapshotter, *layer, blob);
  }
  if (!done) {
    // A layer that another way of committing brought meanwhile is as good.
    if (done.error().is(Code::kAlreadyExists) && SKIFF_TRY(adopted(*layer)))
      return Unpacked{.existed = true};
    return std::unexpected(
        done.error().wrap(fmt::format("unpack layer {}", layer->descriptor.digest)));
  }
  if (parts_.note_written) parts_.note_written();
  return Unpacked{};
}

Status UnpackFlights::unpack_staged(const Context& context, UnpackState& state,
                                    snapshot::Snapshotter& snapshotter, const LayerPlan& layer,
                                    const BlobFlights::Seat& blob, const Seat* parent) {
  auto slot = SKIFF_TRY(unpack_slots_.take(context));
  StagingGuard staging(context, snapshotter, staging_key(layer));
  auto mounts = SKIFF_TRY(snapshotter.prepare(context, staging.key(), "", {}));
  auto folders = SKIFF_TRY(snapshot::layer_folders(mounts));
  auto folder = SKIFF_TRY(sys::open_dir(folders.upper));

  const auto begin = TraceClock::now();
  FlightSource source(context, blob.shared_state());
  auto staged = SKIFF_TRY(layer::stage_layer(context, source, expected_of(layer), *applier_,
                                             folder.get(), apply_options()));
  add_stage_spans(state, begin, staged.outcome.times);
  slot.release();

  SKIFF_TRY(blob.wait(context));
  SKIFF_TRY(wait_for_parent(context, parent, snapshotter, layer));
  Status settled = settle(context, state, snapshotter, layer, staged.layer, folder.get());
  if (!settled && settled.error().is(Code::kFailedPrecondition)) {
    log::debug("layer is applied onto its mounted parent",
               {{"layer", layer.descriptor.digest.str()}, {"reason", settled.error()}});
    return unpack_mounted(context, state, snapshotter, layer, blob);
  }
  SKIFF_TRY(settled);
  const layer::ApplyStats stats = staged.layer.stats();
  SKIFF_TRY(commit(context, state, snapshotter, layer, staging.key(), &stats));
  staging.release();
  return ok();
}

Status UnpackFlights::settle(const Context& context, UnpackState& state,
                             snapshot::Snapshotter& snapshotter, const LayerPlan& layer,
                             layer::StagedLayer& staged, int folder) {
  const auto begin = TraceClock::now();
  std::vector<std::string> lowers;
  if (layer.parent && !staged.self_contained())
    lowers = SKIFF_TRY(lower_folders(context, snapshotter, layer.parent->chain_id.str()));
  SKIFF_TRY(applier_->settle(context, staged, folder, lowers));
  state.add_span({"fix-up", begin, TraceClock::now() - begin});
  return ok();
}

Status UnpackFlights::unpack_mounted(const Context& context, UnpackState& state,
                                     snapshot::Snapshotter& snapshotter, const LayerPlan& layer,
                                     const BlobFlights::Seat& blob) {
  auto slot = SKIFF_TRY(unpack_slots_.take(context));
  StagingGuard staging(context, snapshotter, staging_key(layer));
  const std::string parent = layer.parent ? layer.parent->chain_id.str() : "";
  auto mounts = SKIFF_TRY(snapshotter.prepare(context, staging.key(), parent, {}));
  const auto begin = TraceClock::now();
  FlightSource source(context, blob.shared_state());
  auto outcome = SKIFF_TRY(
      with_mounted(parts_.mount_dir, mounts, [&](const sys::Path& root) -> Result<layer::Outcome> {
        auto folder = SKIFF_TRY(sys::open_dir(root));
        return layer::apply_layer(context, source, expected_of(layer), *applier_, folder.get(),
                                  apply_options());
      }));
  add_stage_spans(state, begin, outcome.times);
  slot.release();
  SKIFF_TRY(blob.wait(context));
  SKIFF_TRY(commit(context, state, snapshotter, layer, staging.key(), nullptr));
  staging.release();
  return ok();
}

Status UnpackFlights::wait_for_parent(const Context& context, const Seat* parent,
                                      snapshot::Snapshotter& snapshotter, const LayerPlan& layer) {
  if (parent == nullptr) return ok();
  SKIFF_TRY_WRAP(parent->wait(context), "the layer below");
  // Under this flight's own lease: the parent's may go as soon as its seats are left.
  if (!SKIFF_TRY(adopt_chain(context, parts_.store, snapshotter.name(), layer.parent->chain_id)))
    return fail(Code::kInternal, "the layer below, {}, is gone", layer.parent->chain_id);
  return ok();
}

Status UnpackFlights::commit(const Context& context, UnpackState& state,
                             snapshot::Snapshotter& snapshotter, const LayerPlan& layer,
                             const std::string& key, const layer::ApplyStats* staged) {
  const auto begin = TraceClock::now();
  snapshot::CommitOptions options;
  options.layer_source = source_of(layer).to_json();
  // What was staged can be made anew from its blob after a power loss; what was applied onto its
  // mounted parent cannot.
  options.durability =
      staged != nullptr ? metadata::Durability::kRides : metadata::Durability::kDurable;
  options.verified_chain_id = layer.chain_id;
  if (staged != nullptr) {
    options.parent = layer.parent ? layer.parent->chain_id.str() : "";
    options.usage = snapshot::Usage{.bytes = staged->bytes, .inodes = staged->entries};
  }
  SKIFF_TRY(snapshotter.commit(context, layer.chain_id.str(), key, options));
  state.add_span({"commit", begin, TraceClock::now() - begin});
  return ok();
}

Status UnpackFlights::repair(const Context& context, const metadata::Snapshot& snapshot,
                             const LayerPlan& layer, const BlobFlights::Seat& blob) {
  auto slot = SKIFF_TRY(unpack_slots_.take(context));
  SKIFF_TRY(blob.wait(context));
  FlightSource source(context, blob.shared_state());
  return rebuild(context, snapshot, source, layer.diff_id);
}

Status UnpackFlights::rebuild(const Context& context, const metadata::Snapshot& snapshot,
                              ByteSource& blob, const Digest& diff_id) {
  if (!parts_.layer_folder)
    return fail(Code::kUnimplemented, "snapshots of {} cannot be made anew", snapshot.snapshotter);
  const sys::Path folder = SKIFF_TRY(parts_.layer_folder(snapshot));
  auto lowers = SKIFF_TRY(folders_below(context, snapshot));
  SKIFF_TRY(sys::remove_tree(folder));
  SKIFF_TRY(sys::make_dir(folder));
  auto fd = SKIFF_TRY(sys::open_dir(folder));
  auto staged = SKIFF_TRY(layer::stage_layer(context, blob, {.diff_id = diff_id}, *applier_,
                                             fd.get(), apply_options()));
  SKIFF_TRY(applier_->settle(context, staged.layer, fd.get(), lowers));
  return parts_.store.write(
      context, kRewritten, metadata::Durability::kRides, [&](metadata::Transaction& txn) {
        return metadata::snapshots::rewritten(txn, snapshot.id, parts_.store.boot_id());
      });
}

Result<std::vector<std::string>> UnpackFlights::folders_below(const Context& context,
                                                              const metadata::Snapshot& snapshot) {
  std::vector<int64_t> chain;
  SKIFF_TRY(parts_.store.read(context, [&](metadata::Reader& reader) -> Status {
    chain = SKIFF_TRY(metadata::snapshots::chain(reader, snapshot.id));
    return ok();
  }));
  std::vector<std::string> folders;
  for (size_t i = 1; i < chain.size(); ++i)
    folders.push_back(
        SKIFF_TRY(parts_.layer_folder({.id = chain[i], .snapshotter = snapshot.snapshotter}))
            .string());
  return folders;
}

layer::ApplyOptions UnpackFlights::apply_options() const {
  layer::ApplyOptions options;
  options.limits.entries = parts_.limits.max_layer_entries;
  if (parts_.limits.max_layer_bytes != 0) options.limits.bytes = parts_.limits.max_layer_bytes;
  return options;
}

Result<FoundChain> find_chain(const Context& context, metadata::Store& store,
                              const std::string& snapshotter, const Digest& chain_id) {
  FoundChain found;
  SKIFF_TRY(store.read(context, [&](metadata::Reader& reader) -> Status {
    auto top = metadata::snapshots::find_committed(reader, snapshotter, chain_id.str());
    if (!top && top.error().is(Code::kNotFound)) return ok();
    found.top = SKIFF_TRY(std::move(top));
    auto suspects = SKIFF_TRY(metadata::snapshots::suspects(reader, store.boot_id()));
    if (suspects.empty()) return ok();
    const auto chain = SKIFF_TRY(metadata::snapshots::chain(reader, found.top->id));
    for (const metadata::Snapshot& suspect : suspects) {
      found.top_hurt |= suspect.id == found.top->id;
      found.hurt |= std::ranges::find(chain, suspect.id) != chain.end();
    }
    return ok();
  }));
  return found;
}

Result<bool> adopt_chain(const Context& context, metadata::Store& store,
                         const std::string& snapshotter, const Digest& chain_id) {
  auto found = SKIFF_TRY(find_chain(context, store, snapshotter, chain_id));
  if (!found.whole()) return false;
  Status adopted = store.write(
      context, kAdoptChain, metadata::Durability::kRides, [&](metadata::Transaction& txn) {
        return metadata::snapshots::adopt(txn, context.name_space(), snapshotter, chain_id.str(),
                                          {}, context.lease());
      });
  if (!adopted && adopted.error().is(Code::kNotFound)) return false;
  SKIFF_TRY(adopted);
  return true;
}

}  // namespace skiff::image
