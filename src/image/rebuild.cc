#include "image/rebuild.h"

#include "base/log.h"

namespace skiff::image {
namespace {

Status rebuild_one(const Context& context, const ImageService::Parts& parts, UnpackFlights& unpacks,
                   const metadata::Snapshot& suspect) {
  const LayerSource layer = SKIFF_TRY(LayerSource::parse(suspect.layer_source));
  SKIFF_TRY(parts.content.share(context, layer.descriptor.digest, {}));
  auto blob = content::source(SKIFF_TRY(parts.content.open(context, layer.descriptor.digest)));
  return unpacks.rebuild(context, suspect, *blob, layer.diff_id);
}

}  // namespace

Status rebuild_suspects(const Context& context, const ImageService::Parts& parts,
                        UnpackFlights& unpacks) {
  std::vector<metadata::Snapshot> suspects;
  SKIFF_TRY(parts.store.read(context, [&](metadata::Reader& reader) -> Status {
    suspects = SKIFF_TRY(metadata::snapshots::suspects(reader, parts.store.boot_id()));
    return ok();
  }));
  if (suspects.empty()) return ok();
  HeldLease lease(parts.store, context.with_namespace(kFlightNamespace));
  SKIFF_TRY(lease.status());
  for (const metadata::Snapshot& suspect : suspects) {
    Status rebuilt = rebuild_one(under(context, lease), parts, unpacks, suspect);
    if (rebuilt) {
      log::info("rebuilt a layer that was not confirmed before the machine went down",
                {{"snapshot", suspect.id}, {"chain", suspect.key}});
    } else {
      log::error(
          "a layer was not confirmed before the machine went down and cannot be rebuilt: "
          "pull its image again",
          {{"snapshot", suspect.id}, {"chain", suspect.key}, {"error", rebuilt.error()}});
    }
  }
  if (parts.note_written) parts.note_written();
  return ok();
}

}  // namespace skiff::image
