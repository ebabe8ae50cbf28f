#include "layer/applier.h"
#include "layer/records.h"
#include "layer/settle.h"
#include "layer/unpack.h"

namespace skiff::layer {

StagedLayer::StagedLayer() : records_(std::make_unique<Records>()) {}
StagedLayer::~StagedLayer() = default;
StagedLayer::StagedLayer(StagedLayer&&) noexcept = default;
StagedLayer& StagedLayer::operator=(StagedLayer&&) noexcept = default;

ApplyStats StagedLayer::stats() const { return records_->stats; }

bool StagedLayer::self_contained() const {
  bool only_root = records_->implicit.empty() ||
                   (records_->implicit.size() == 1 && records_->implicit.begin()->first.empty());
  return only_root && records_->links.empty() && records_->whiteouts.empty() &&
         records_->tangle.empty() && !records_->opaque_root;
}

namespace {

class TarApplier : public Applier {
 public:
  Result<StagedLayer> apply_staged(const Context& context, codec::Window& tar, int staging,
                                   const ApplyOptions& options) override {
    StagedLayer layer;
    layer.records().stats = SKIFF_TRY(unpack(context, tar, staging, options, &layer.records()));
    return layer;
  }

  Status settle(const Context& context, StagedLayer& layer, int staging,
                std::span<const std::string> lowers) override {
    return settle_layer(context, layer.records(), staging, lowers);
  }

  Result<ApplyStats> apply_mounted(const Context& context, codec::Window& tar, int root,
                                   const ApplyOptions& options) override {
    return unpack(context, tar, root, options, nullptr);
  }
};

}  // namespace

std::unique_ptr<Applier> make_tar_applier() { return std::make_unique<TarApplier>(); }

}  // namespace skiff::layer
