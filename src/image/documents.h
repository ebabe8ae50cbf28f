// Manifests, indexes and configurations: small blobs that are read whole.
#pragma once

#include <string>

#include "base/context.h"
#include "content/content_store.h"
#include "oci/descriptor.h"

namespace skiff::image {

// The bound for a descriptor's document: configurations 8 MiB, all else 4 MiB.
size_t document_limit(std::string_view media_type);
// ResourceExhausted when the descriptor claims more than its kind may have.
Status check_document_size(const oci::Descriptor& descriptor);

// From the store; NotFound when the context's namespace does not have it.
Result<std::string> read_document(const Context& context, content::ContentStore& content,
                                  const oci::Descriptor& descriptor);
// Into the store under the context's namespace and lease; the digest is checked. What is there
// already only gets the labels.
Status store_document(const Context& context, content::ContentStore& content,
                      const oci::Descriptor& descriptor, std::string_view body,
                      const content::Labels& labels, metadata::Durability durability);

// The labels by which garbage collection finds a document's children.
content::Labels manifest_gc_labels(const oci::Manifest& manifest);
content::Labels index_gc_labels(const oci::Index& index);

}  // namespace skiff::image
