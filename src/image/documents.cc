#include "image/documents.h"

#include "base/random_id.h"
#include "codec/hash.h"

namespace skiff::image {

size_t document_limit(std::string_view media_type) {
  const bool config =
      media_type == oci::media_type::kOciConfig || media_type == oci::media_type::kDockerConfig;
  return config ? oci::kMaxConfigBytes : oci::kMaxManifestBytes;
}

Status check_document_size(const oci::Descriptor& descriptor) {
  if (descriptor.size <= document_limit(descriptor.media_type)) return ok();
  return fail(Code::kResourceExhausted, "{} {} claims {} bytes; at most {} are accepted",
              descriptor.media_type, descriptor.digest, descriptor.size,
              document_limit(descriptor.media_type));
}

Result<std::string> read_document(const Context& context, content::ContentStore& content,
                                  const oci::Descriptor& descriptor) {
  auto reader = SKIFF_TRY(content.open(context, descriptor.digest));
  auto source = content::source(reader);
  return SKIFF_TRY_WRAP(read_all(*source, document_limit(descriptor.media_type)), "{}",
                        descriptor.digest);
}

Status store_document(const Context& context, content::ContentStore& content,
                      const oci::Descriptor& descriptor, std::string_view body,
                      const content::Labels& labels, metadata::Durability durability) {
  if (body.size() != descriptor.size)
    return fail(Code::kDataLoss, "{} {}: {} bytes where {} were announced", descriptor.media_type,
                descriptor.digest, body.size(), descriptor.size);
  codec::Hasher hasher(descriptor.digest.algorithm());
  hasher.update(as_bytes(body));
  const Digest computed = hasher.finish();
  if (computed != descriptor.digest)
    return fail(Code::kDataLoss, "{} is {} by its bytes and {} by its descriptor",
                descriptor.media_type, computed, descriptor.digest);
  if (content.share(context, descriptor.digest, labels)) return ok();
  // A ref of its own: many pulls may store the same manifest at the same time.
  auto ingest = content.ingest(context, fmt::format("document-{}", random_id(8)),
                               {.digest = descriptor.digest, .size = descriptor.size});
  if (!ingest && ingest.error().is(Code::kAlreadyExists)) {
    SKIFF_TRY(content.share(context, descriptor.digest, labels));
    return ok();
  }
  if (!ingest) return std::unexpected(ingest.error());
  SKIFF_TRY((*ingest)->write(as_bytes(body)));
  SKIFF_TRY((*ingest)->commit(context, {.digest = descriptor.digest, .size = descriptor.size},
                              {.labels = labels, .durability = durability, .computed = computed}));
  return ok();
}

content::Labels manifest_gc_labels(const oci::Manifest& manifest) {
  content::Labels labels{{"containerd.io/gc.ref.content.config", manifest.config.digest.str()}};
  for (size_t i = 0; i < manifest.layers.size(); ++i)
    labels.emplace(fmt::format("containerd.io/gc.ref.content.l.{}", i),
                   manifest.layers[i].digest.str());
  return labels;
}

content::Labels index_gc_labels(const oci::Index& index) {
  content::Labels labels;
  for (size_t i = 0; i < index.manifests.size(); ++i)
    labels.emplace(fmt::format("containerd.io/gc.ref.content.m.{}", i),
                   index.manifests[i].digest.str());
  return labels;
}

}  // namespace skiff::image
