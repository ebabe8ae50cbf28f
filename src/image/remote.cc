#include "image/remote.h"

#include "base/log.h"
#include "base/random_id.h"

namespace skiff::image {
namespace {

// The label that today's snapshotters set on what they committed themselves.
constexpr char kRemoteTodayLabel[] = "containerd.io/snapshot/remote";
// A label's key and value together stay below this (containerd's limit).
constexpr size_t kLabelBytes = 4096;

bool is_remote(const snapshot::SnapshotInfo& info) {
  return info.labels.contains(snapshot::kRemoteLabel) || info.labels.contains(kRemoteTodayLabel);
}

// The digests of this layer and those above it, as far as a label holds them.
std::string following_digests(const std::vector<LayerPlanPtr>& layers, size_t from,
                              std::string_view label) {
  std::string list;
  for (size_t i = from; i < layers.size(); ++i) {
    const std::string& digest = layers[i]->descriptor.digest.str();
    if (label.size() + list.size() + digest.size() + 1 > kLabelBytes) break;
    if (!list.empty()) list += ',';
    list += digest;
  }
  return list;
}

snapshot::Labels request_labels(const std::vector<LayerPlanPtr>& layers, size_t i,
                                const oci::Reference& reference, const Digest& manifest) {
  const std::string digest = layers[i]->descriptor.digest.str();
  snapshot::Labels labels{
      {snapshot::kRemoteRefLabel, reference.str()},
      {snapshot::kRemoteDigestLabel, digest},
      {snapshot::kTargetLabel, layers[i]->chain_id.str()},
      {"containerd.io/snapshot/cri.image-ref", reference.str()},
      {"containerd.io/snapshot/cri.manifest-digest", manifest.str()},
      {"containerd.io/snapshot/cri.layer-digest", digest},
      {"containerd.io/snapshot/remote/stargz.reference", reference.str()},
      {"containerd.io/snapshot/remote/stargz.digest", digest},
  };
  for (const char* list :
       {"containerd.io/snapshot/cri.image-layers", "containerd.io/snapshot/remote/stargz.layers"})
    labels.emplace(list, following_digests(layers, i, list));
  return labels;
}

// Where the bytes are, for a push or an export later. The layer stands either way.
void record_source(const Context& context, snapshot::Snapshotter& snapshotter,
                   const LayerPlan& layer) {
  auto updated = snapshotter.update(context, layer.chain_id.str(),
                                    {{kLayerSourceLabel, source_of(layer).to_json()}},
                                    {fmt::format("labels.{}", kLayerSourceLabel)});
  if (!updated)
    log::warning("a remote layer's source could not be recorded",
                 {{"layer", layer.descriptor.digest.str()}, {"error", updated.error()}});
}

// One layer: true when it now stands as a remote snapshot under its chain ID.
Result<bool> prepare_layer(const Context& context, snapshot::Snapshotter& snapshotter,
                           const LayerPlan& layer, const snapshot::Labels& labels) {
  const std::string chain = layer.chain_id.str();
  auto standing = snapshotter.stat(context, chain);
  if (standing) return is_remote(*standing);
  if (!standing.error().is(Code::kNotFound)) return std::unexpected(standing.error());

  const std::string key = fmt::format("remote-{}-{}", random_id(6), chain);
  const std::string parent = layer.parent ? layer.parent->chain_id.str() : "";
  auto prepared = snapshotter.prepare(context, key, parent, labels);
  if (!prepared) {
    // Today's contract: the snapshotter committed the layer itself.
    if (prepared.error().is(Code::kAlreadyExists) && snapshotter.stat(context, chain)) {
      record_source(context, snapshotter, layer);
      return true;
    }
    (void)snapshotter.remove(context, key);
    return std::unexpected(prepared.error());
  }
  // The contract of 2019: the snapshotter marks the active snapshot, the client commits it.
  auto active = snapshotter.stat(context, key);
  if (active && active->labels.contains(snapshot::kRemoteLabel)) {
    Status committed = snapshotter.commit(context, chain, key,
                                          {.labels = labels,
                                           .durability = metadata::Durability::kRides,
                                           .verified_chain_id = layer.chain_id,
                                           .layer_source = source_of(layer).to_json()});
    if (committed || committed.error().is(Code::kAlreadyExists)) return true;
  }
  (void)snapshotter.remove(context, key);
  return false;
}

}  // namespace

Result<size_t> prepare_remote(const Context& context, snapshot::Snapshotter& snapshotter,
                              const std::vector<LayerPlanPtr>& layers,
                              const oci::Reference& reference, const Digest& manifest) {
  for (size_t i = 0; i < layers.size(); ++i) {
    SKIFF_TRY(context.check());
    auto remote = prepare_layer(context, snapshotter, *layers[i],
                                request_labels(layers, i, reference, manifest));
    if (!remote)
      log::warning("a remote snapshot could not be prepared; the layer is fetched",
                   {{"layer", layers[i]->descriptor.digest.str()},
                    {"snapshotter", snapshotter.name()},
                    {"error", remote.error()}});
    if (!remote || !*remote) return i;
  }
  return layers.size();
}

}  // namespace skiff::image
