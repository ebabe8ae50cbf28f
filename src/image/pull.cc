#include "image/pull.h"

#include <algorithm>

#include "base/log.h"
#include "codec/hash.h"
#include "codec/json/json.h"
#include "image/documents.h"
#include "image/remote.h"

namespace skiff::image {
namespace {

const CrashPoint kMakeVisible{"image.pull.visible"};

// An index may hold indexes; deeper than this is a mistake or an attack.
constexpr int kMaxIndexDepth = 4;
constexpr auto kReportPeriod = std::chrono::milliseconds(100);

}  // namespace

Pull::Pull(const ImageService::Parts& parts, BlobFlights& blobs, UnpackFlights& unpacks,
           snapshot::Snapshotter& snapshotter, const Context& context,
           const oci::Reference& reference, const PullOptions& options, const ProgressFn& progress)
    : parts_(parts),
      blobs_(blobs),
      unpacks_(unpacks),
      snapshotter_(snapshotter),
      lease_(parts.store, context),
      context_(context.with_lease(lease_.id())),
      reference_(reference),
      options_(options),
      progress_(progress) {}

Result<PullResult> Pull::run() {
  SKIFF_TRY(lease_.status());
  SKIFF_TRY(resolve());
  SKIFF_TRY(read_config());
  if (SKIFF_TRY(already_here())) {
    result_.up_to_date = true;
  } else {
    SKIFF_TRY(prove_access());
    SKIFF_TRY(find_present_layers());
    join_flights();
    SKIFF_TRY(await_layers());
    SKIFF_TRY(take_over_blobs());
    SKIFF_TRY(make_visible());
  }
  report(true);
  if (options_.trace) collect_trace();
  pending_.clear();
  return std::move(result_);
}

Status Pull::resolve() {
  SpanTimer timer(spans_, "resolve");
  if (progress_) progress_({.phase = "resolving"});
  resolved_ = SKIFF_TRY(parts_.resolver.resolve(context_, reference_, options_.access));
  const oci::Descriptor& top = resolved_.descriptor;
  if (oci::is_index(top.media_type)) {
    SKIFF_TRY(read_index(top, 1));
  } else if (oci::is_manifest(top.media_type)) {
    SKIFF_TRY(read_manifest(top));
  } else {
    return fail(Code::kInvalidArgument, "{} is of type {}, which is no image", reference_.str(),
                top.media_type);
  }
  return ok();
}

Result<std::string> Pull::document(const oci::Descriptor& descriptor) {
  SKIFF_TRY(check_document_size(descriptor));
  if (descriptor.digest == resolved_.descriptor.digest && !resolved_.body.empty())
    return resolved_.body;
  SKIFF_TRY(blobs_.ensure(context_, descriptor, resolved_.fetcher, {}));
  return read_document(context_, parts_.content, descriptor);
}

Status Pull::read_index(const oci::Descriptor& descriptor, int depth) {
  const bool seen = std::ranges::any_of(documents_, [&](const Document& document) {
    return document.descriptor.digest == descriptor.digest;
  });
  if (seen || depth > kMaxIndexDepth)
    return fail(Code::kInvalidArgument, "index {} {}", descriptor.digest,
                seen ? "refers to itself" : "is nested too deeply");
  std::string body = SKIFF_TRY(document(descriptor));
  auto index =
      SKIFF_TRY_WRAP(oci::Index::parse(body, descriptor.media_type), "index {}", descriptor.digest);
  auto chosen = SKIFF_TRY_WRAP(index.choose(options_.platform), "{}", reference_.str());
  documents_.push_back({descriptor, std::move(body), index_gc_labels(index)});
  if (oci::is_index(chosen.media_type)) return read_index(chosen, depth + 1);
  return read_manifest(chosen);
}

Status Pull::read_manifest(const oci::Descriptor& descriptor) {
  std::string body = SKIFF_TRY(document(descriptor));
  manifest_ = SKIFF_TRY_WRAP(oci::Manifest::parse(body, descriptor.media_type), "manifest {}",
                             descriptor.digest);
  manifest_descriptor_ = descriptor;
  documents_.push_back({descriptor, std::move(body), manifest_gc_labels(manifest_)});
  return ok();
}

Status Pull::read_config() {
  SpanTimer timer(spans_, "config");
  const oci::Descriptor& config = manifest_.config;
  const bool is_image = config.media_type == oci::media_type::kOciConfig ||
                        config.media_type == oci::media_type::kDockerConfig;
  if (!is_image)
    return fail(Code::kInvalidArgument, "{} is an artifact ({}), not a container image",
                reference_.str(), config.media_type);
  const std::string text = SKIFF_TRY_WRAP(document(config), "configuration");
  config_ = SKIFF_TRY_WRAP(oci::ImageConfig::parse(text), "configuration {}", config.digest);
  if (config_.diff_ids.size() != manifest_.layers.size())
    return fail(Code::kInvalidArgument,
                "manifest {} lists {} layers, but its configuration has {} diff IDs",
                manifest_descriptor_.digest, manifest_.layers.size(), config_.diff_ids.size());
  for (const oci::Descriptor& layer : manifest_.layers)
    if (!oci::is_layer(layer.media_type))
      return fail(Code::kInvalidArgument, "layer {} is of type {}, which is not supported",
                  layer.digest, layer.media_type);
  layers_ = plan_layers(manifest_.layers, config_.diff_ids, reference_.str());

  result_.manifest = manifest_descriptor_.digest;
  result_.config = config.digest;
  result_.layers = static_cast<uint32_t>(layers_.size());
  if (options_.unpack && !layers_.empty()) result_.chain_id = layers_.back()->chain_id;
  for (const auto& layer : layers_)
    shown_.push_back({.digest = layer->descriptor.digest.str(), .total = layer->descriptor.size});
  return ok();
}

Result<bool> Pull::already_here() {
  bool here = false;
  SKIFF_TRY(parts_.store.read(context_, [&](metadata::Reader& reader) -> Status {
    const std::string& ns = context_.name_space();
    auto image = metadata::images::get(reader, ns, reference_.str());
    here = image && image->digest == resolved_.descriptor.digest;
    for (const Document& document : documents_)
      here = here && metadata::blobs::get(reader, ns, document.descriptor.digest);
    if (options_.unpack && !layers_.empty())
      here =
          here && metadata::snapshots::get(reader, ns, snapshotter_.name(), result_.chain_id.str());
    if (!options_.unpack)
      for (const auto& layer : layers_)
        here = here && metadata::blobs::get(reader, ns, layer->descriptor.digest);
    if (here) result_.image = std::move(*image);
    return ok();
  }));
  // The rows say so, but a power loss may have said otherwise.
  if (here && options_.unpack && !layers_.empty())
    here = SKIFF_TRY(find_chain(context_, parts_.store, snapshotter_.name(), result_.chain_id))
               .whole();
  if (!here) return false;
  result_.layers_present = result_.layers;
  for (auto& layer : shown_) layer.state = LayerState::kPresent;
  return true;
}

// content_sharing_policy = isolated: what another namespace brought may be used only by who could
// have fetched it too, shown by fetching its first byte.
Status Pull::prove_access() {
  if (!parts_.limits.isolated) return ok();
  for (const auto& layer : layers_) {
    if (layer->descriptor.size == 0 || parts_.content.info(context_, layer->descriptor.digest))
      continue;
    StringSink first_byte;
    SKIFF_TRY_WRAP(resolved_.fetcher->fetch(context_, layer->descriptor, {.offset = 0, .length = 1},
                                            first_byte),
                   "access to layer {}", layer->descriptor.digest);
  }
  return ok();
}

Status Pull::find_present_layers() {
  if (!options_.unpack) return ok();
  size_t present = layers_.size();
  while (present > 0 && !SKIFF_TRY(adopt_chain(context_, parts_.store, snapshotter_.name(),
                                               layers_[present - 1]->chain_id)))
    --present;
  result_.layers_present = static_cast<uint32_t>(present);
  for (size_t i = 0; i < present; ++i) shown_[i].state = LayerState::kPresent;
  if (present > 0 || !(options_.remote || snapshotter_.capabilities().remote)) return ok();

  const size_t remote = SKIFF_TRY(
      prepare_remote(context_, snapshotter_, layers_, reference_, manifest_descriptor_.digest));
  result_.layers_remote = static_cast<uint32_t>(remote);
  for (size_t i = 0; i < remote; ++i) shown_[i].state = LayerState::kRemote;
  return ok();
}

void Pull::join_flights() {
  for (size_t i = result_.layers_present + result_.layers_remote; i < layers_.size(); ++i)
    pending_.push_back(
        {.index = i, .blob = blobs_.join(layers_[i]->descriptor, resolved_.fetcher)});
  if (!options_.unpack) return;
  for (Pending& pending : pending_)
    pending.unpack = unpacks_.join(snapshotter_, layers_[pending.index]);
}

// Sleeps on the first layer that is not through; looks at all the others whenever it wakes, so that
// a failure anywhere ends the pull at once and not in its layer's turn.
Status Pull::await_layers() {
  for (;;) {
    Pending* first = nullptr;
    for (Pending& pending : pending_) {
      SKIFF_TRY(await(pending, false));
      if (!pending.done() && first == nullptr) first = &pending;
    }
    report(false);
    if (first == nullptr) return ok();
    SKIFF_TRY(await(*first, true));
  }
}

// Takes note of what has ended; with `sleep`, waits a while for the next of this layer to end.
Status Pull::await(Pending& pending, bool sleep) {
  SKIFF_TRY(context_.check());
  const auto longest = sleep ? kReportPeriod : std::chrono::milliseconds(0);
  if (!pending.blob_done &&
      pending.blob.poll(context_, pending.unpack ? std::chrono::milliseconds(0) : longest)) {
    SKIFF_TRY(pending.blob.wait(context_));
    pending.blob_done = true;
  }
  if (pending.unpack && !pending.unpack_done && pending.unpack.poll(context_, longest)) {
    if (auto unpacked = pending.unpack.wait(context_); !unpacked) {
      // A blob that failed is the cause, and the unpack's error only what came of it.
      if (pending.blob.poll(context_, std::chrono::milliseconds(0)))
        SKIFF_TRY(pending.blob.wait(context_));
      return std::unexpected(unpacked.error());
    }
    pending.unpack_done = true;
  }
  LayerProgress& shown = shown_[pending.index];
  const BlobState& blob = pending.blob.state();
  shown.offset = blob.readable();
  shown.state = pending.done()        ? LayerState::kDone
                : pending.blob_done   ? LayerState::kUnpacking
                : blob.readable() > 0 ? LayerState::kDownloading
                                      : LayerState::kWaiting;
  return ok();
}

metadata::Labels Pull::source_labels() const {
  return {{"containerd.io/distribution.source." + reference_.registry(), reference_.repository()}};
}

metadata::Labels Pull::layer_labels(size_t index) const {
  metadata::Labels labels = source_labels();
  labels.emplace("containerd.io/uncompressed", layers_[index]->diff_id.str());
  return labels;
}

Status Pull::take_over_blobs() {
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Digest& digest = layers_[i]->descriptor.digest;
    auto shared = parts_.content.share(context_, digest, layer_labels(i));
    // A layer that was unpacked before, or is remote, need not have its blob here.
    const bool fetched = i >= result_.layers_present + result_.layers_remote;
    if (!shared && (fetched || !shared.error().is(Code::kNotFound)))
      return std::unexpected(shared.error());
  }
  for (const Pending& pending : pending_) result_.fetched_bytes += pending.blob.state().fetched();
  for (const Document& document : documents_) {
    metadata::Labels labels = document.labels;
    labels.merge(source_labels());
    SKIFF_TRY(store_document(context_, parts_.content, document.descriptor, document.body, labels,
                             metadata::Durability::kRides));
  }
  metadata::Labels labels = source_labels();
  if (!result_.chain_id.empty())
    labels.emplace("containerd.io/gc.ref.snapshot." + snapshotter_.name(), result_.chain_id.str());
  SKIFF_TRY(parts_.content.share(context_, manifest_.config.digest, labels));
  return ok();
}

// The name, the layers' names and the end of the lease are one transaction: before it nothing of
// this pull is seen, after it everything.
Status Pull::make_visible() {
  SpanTimer timer(spans_, "visible");
  Image image{.name = reference_.str(),
              .target = json::dump(resolved_.descriptor.to_json()),
              .digest = resolved_.descriptor.digest,
              .labels = options_.labels,
              .created = metadata::now(),
              .updated = metadata::now()};
  const std::string& ns = context_.name_space();
  SKIFF_TRY(parts_.store.write(
      context_, kMakeVisible, metadata::Durability::kDurable,
      [&](metadata::Transaction& txn) -> Status {
        if (!result_.chain_id.empty() && result_.layers_remote < result_.layers)
          SKIFF_TRY(metadata::snapshots::adopt(txn, ns, snapshotter_.name(), result_.chain_id.str(),
                                               {}, context_.lease()));
        if (auto before = metadata::images::get(txn, ns, image.name)) {
          image.created = before->created;
          image.labels.merge(metadata::Labels(before->labels));
        }
        return metadata::images::put(txn, ns, image);
      }));
  result_.image = std::move(image);
  return ok();
}

void Pull::report(bool final) {
  if (!progress_) return;
  const auto now = std::chrono::steady_clock::now();
  if (!final && now - last_report_ < kReportPeriod) return;
  last_report_ = now;
  progress_({.phase = final ? "done" : "fetching", .layers = shown_});
}

// Stages that overlap in time stand on lanes of their own.
void Pull::collect_trace() {
  std::vector<Lane> lanes{{.name = reference_.familiar(), .spans = spans_}};
  for (const Pending& pending : pending_) {
    const auto& descriptor = layers_[pending.index]->descriptor;
    const std::string layer =
        fmt::format("layer {} {} {:.1f} MB", pending.index + 1, descriptor.digest.short_hex(),
                    static_cast<double>(descriptor.size) / 1e6);
    lanes.push_back({.name = layer, .spans = pending.blob.state().spans()});
    if (!pending.unpack) continue;
    Lane inflate{.name = layer + " inflate", .spans = {}};
    Lane untar{.name = layer + " untar", .spans = {}};
    for (Span& span : pending.unpack.state().spans())
      (span.name == "inflate" ? inflate : untar).spans.push_back(std::move(span));
    lanes.push_back(std::move(inflate));
    lanes.push_back(std::move(untar));
  }
  result_.trace = chrome_trace(lanes);
}

}  // namespace skiff::image
