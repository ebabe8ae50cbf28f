#include "image/rebuild.h"

#include "base/log.h"

namespace skiff::image {
namespace {

Result<Digest> digest_label(const metadata::Snapshot& snapshot, const char* key) {
  auto found = snapshot.labels.find(key);
  if (found == snapshot.labels.end())
    return fail(Code::kNotFound, "snapshot {} has no label {}", snapshot.id, key);
  return Digest::parse(found->second);
}

Status rebuild_one(const Context& context, const ImageService::Parts& parts,
                   UnpackFlights& unpacks, const metadata::Snapshot& suspect) {
  const Digest blob = SKIFF_TRY(digest_label(suspect, kLayerBlobLabel));
  const Digest diff_id = SKIFF_TRY(digest_label(suspect, kLayerDiffIdLabel));
  SKIFF_TRY(parts.content.share(context, blob, {}));
  auto source = content::source(SKIFF_TRY(parts.content.open(context, blob)));
  return unpacks.rebuild(context, suspect, *source, diff_id);
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
      log::error("a layer was not confirmed before the machine went down and cannot be rebuilt: "
                 "pull its image again",
                 {{"snapshot", suspect.id}, {"chain", suspect.key}, {"error", rebuilt.error()}});
    }
  }
  if (parts.note_written) parts.note_written();
  return ok();
}

}  // namespace skiff::image
