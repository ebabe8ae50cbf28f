#include "image/image_service.h"

#include <algorithm>

#include "base/log.h"
#include "base/metrics/metrics.h"
#include "image/archive.h"
#include "image/blob_flight.h"
#include "image/documents.h"
#include "image/library.h"
#include "image/pull.h"
#include "image/push.h"
#include "image/rebuild.h"
#include "image/unpack_flight.h"
#include "sys/mount.h"

namespace skiff::image {
namespace {

const CrashPoint kNameUnpacked{"image.unpack.name"};

void count_pull(bool succeeded, std::chrono::steady_clock::time_point begin) {
  metrics::counter("skiff_image_pulls_total", "Image pulls by result",
                   {{"result", succeeded ? "ok" : "error"}})
      .increment();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  metrics::duration_histogram("skiff_image_pull_seconds", "Time of an image pull")
      .observe(took.count());
}

class SharedImageService final : public ImageService {
 public:
  explicit SharedImageService(Parts parts)
      : parts_(std::move(parts)), blobs_(parts_), unpacks_(parts_, blobs_), library_(parts_) {}

  Result<PullResult> pull(const Context& context, const oci::Reference& reference,
                          const PullOptions& options, const ProgressFn& progress) override {
    const auto begin = std::chrono::steady_clock::now();
    auto* snapshotter = SKIFF_TRY(pick(options.snapshotter));
    auto result =
        Pull(parts_, blobs_, unpacks_, *snapshotter, context, reference, options, progress).run();
    count_pull(result.has_value(), begin);
    if (!result)
      return std::unexpected(
          std::move(result).error().wrap(fmt::format("pull {}", reference.familiar())));
    log::info("pulled image", {{"ref", reference.str()},
                               {"digest", result->image.digest.str()},
                               {"bytes", result->fetched_bytes},
                               {"namespace", context.name_space()}});
    return result;
  }

  Status push(const Context& context, const std::string& name, const oci::Reference& target,
              const PushOptions& options, const ProgressFn& progress) override {
    Image image = SKIFF_TRY(library_.find(context, name));
    SKIFF_TRY_WRAP(Push(parts_, library_, context, target, options, progress).run(image), "push {}",
                   target.familiar());
    return ok();
  }

  Result<std::vector<ImageSummary>> list(const Context& context,
                                         const std::vector<std::string>& filters) override {
    return library_.list(context, filters);
  }
  Result<Image> find(const Context& context, const std::string& name) override {
    return library_.find(context, name);
  }
  Result<ImageDetails> inspect(const Context& context, const std::string& name,
                               const oci::Platform& platform) override {
    return library_.inspect(context, name, platform);
  }
  Result<Image> tag(const Context& context, const std::string& source,
                    const oci::Reference& target) override {
    return library_.tag(context, source, target);
  }
  Result<Removed> remove(const Context& context, const std::string& name) override {
    return library_.remove(context, name);
  }

  Result<Digest> unpack(const Context& context, const std::string& name,
                        const std::string& snapshotter, const oci::Platform& platform) override {
    Image image = SKIFF_TRY(library_.find(context, name));
    HeldLease lease(parts_.store, context);
    SKIFF_TRY(lease.status());
    auto target = SKIFF_TRY(Library::target_of(image));
    return unpack_target(context.with_lease(lease.id()), target, image.name,
                         *SKIFF_TRY(pick(snapshotter)), platform);
  }

  Status export_archive(const Context& context, const std::vector<std::string>& names,
                        ArchiveFormat format, const oci::Platform& platform,
                        ByteSink& sink) override {
    return ArchiveExport(parts_, library_, context, platform, sink).run(names, format);
  }

  Result<std::vector<Image>> import_archive(const Context& context, ByteSource& archive,
                                            const ImportOptions& options,
                                            const ProgressFn& progress) override;

  Status recover(const Context& context) override {
    if (sys::path_exists(parts_.mount_dir)) SKIFF_TRY(sys::unmount_all(parts_.mount_dir));
    SKIFF_TRY(sys::remove_tree(parts_.mount_dir));
    return rebuild_suspects(context, parts_, unpacks_);
  }

 private:
  Result<snapshot::Snapshotter*> pick(const std::string& name) {
    if (parts_.snapshotters.empty())
      return fail(Code::kFailedPrecondition, "the daemon has no snapshotter");
    if (name.empty()) return parts_.snapshotters.front();
    for (snapshot::Snapshotter* snapshotter : parts_.snapshotters)
      if (snapshotter->name() == name) return snapshotter;
    return fail(Code::kNotFound, "no snapshotter {} is configured", name);
  }

  Result<Digest> unpack_target(const Context& context, const oci::Descriptor& target,
                               const std::string& reference, snapshot::Snapshotter& snapshotter,
                               const oci::Platform& platform);

  Parts parts_;
  BlobFlights blobs_;
  UnpackFlights unpacks_;
  Library library_;
};

Result<Digest> SharedImageService::unpack_target(const Context& context,
                                                 const oci::Descriptor& target,
                                                 const std::string& reference,
                                                 snapshot::Snapshotter& snapshotter,
                                                 const oci::Platform& platform) {
  auto chosen = SKIFF_TRY(library_.manifest(context, target, platform));
  const std::string text =
      SKIFF_TRY(read_document(context, parts_.content, chosen.manifest.config));
  auto config = SKIFF_TRY(oci::ImageConfig::parse(text));
  const auto& layers = chosen.manifest.layers;
  if (config.diff_ids.size() != layers.size())
    return fail(Code::kInvalidArgument, "{} lists {} layers, but its configuration has {} diff IDs",
                reference, layers.size(), config.diff_ids.size());
  if (layers.empty()) return Digest();
  auto plan = plan_layers(layers, config.diff_ids, reference);
  const Digest chain = plan.back()->chain_id;
  if (!SKIFF_TRY(adopt_chain(context, parts_.store, snapshotter.name(), chain))) {
    std::vector<UnpackFlights::Seat> seats;
    for (const auto& layer : plan) seats.push_back(unpacks_.join(snapshotter, layer));
    for (const auto& seat : seats) SKIFF_TRY(seat.wait(context));
    if (!SKIFF_TRY(adopt_chain(context, parts_.store, snapshotter.name(), chain)))
      return fail(Code::kInternal, "chain {} is gone right after its unpack", chain);
  }
  // From here on the image itself keeps its layers.
  SKIFF_TRY(
      parts_.content.share(context, chosen.manifest.config.digest,
                           {{"containerd.io/gc.ref.snapshot." + snapshotter.name(), chain.str()}}));
  return chain;
}

Result<std::vector<Image>> SharedImageService::import_archive(const Context& context,
                                                              ByteSource& archive,
                                                              const ImportOptions& options,
                                                              const ProgressFn& progress) {
  HeldLease lease(parts_.store, context);
  SKIFF_TRY(lease.status());
  const Context mine = context.with_lease(lease.id());
  if (progress) progress({.phase = "reading"});
  auto found = SKIFF_TRY_WRAP(ArchiveImport(parts_, mine).run(archive, options.name), "load");
  std::vector<Image> images;
  for (const ArchiveImage& item : found) {
    // An image without a name is kept under its digest, as containerd does.
    const std::string name = item.name.empty() ? "import@" + item.target.digest.str() : item.name;
    auto chosen =
        SKIFF_TRY_WRAP(library_.manifest(mine, item.target, options.platform), "{}", name);
    SKIFF_TRY_WRAP(
        parts_.content.share(mine, chosen.descriptor.digest, manifest_gc_labels(chosen.manifest)),
        "{}", name);
    for (const oci::Descriptor& layer : chosen.manifest.layers)
      SKIFF_TRY_WRAP(parts_.content.share(mine, layer.digest, {}), "{}: layer {}", name,
                     layer.digest);
    if (options.unpack)
      SKIFF_TRY_WRAP(unpack_target(mine, item.target, name, *SKIFF_TRY(pick(options.snapshotter)),
                                   options.platform),
                     "{}", name);
    images.push_back({.name = name,
                      .target = json::dump(item.target.to_json()),
                      .digest = item.target.digest,
                      .created = metadata::now(),
                      .updated = metadata::now()});
  }
  SKIFF_TRY(parts_.store.write(mine, kNameUnpacked, metadata::Durability::kDurable,
                               [&](metadata::Transaction& txn) -> Status {
                                 for (const Image& image : images)
                                   SKIFF_TRY(metadata::images::put(txn, mine.name_space(), image));
                                 return ok();
                               }));
  if (progress) progress({.phase = "done"});
  return images;
}

}  // namespace

std::unique_ptr<ImageService> ImageService::create(Parts parts) {
  return std::make_unique<SharedImageService>(std::move(parts));
}

}  // namespace skiff::image
