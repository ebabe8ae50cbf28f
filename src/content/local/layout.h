// Where the local store keeps things (docs/formats/on-disk.md).
#pragma once

#include <optional>

#include "base/digest.h"
#include "sys/file.h"

namespace skiff::content {

struct Layout {
  sys::Path root;

  sys::Path content() const { return root / "content"; }
  sys::Path ingests() const { return content() / "ingest"; }
  sys::Path ingest(const std::string& id) const { return ingests() / id; }
  sys::Path blobs() const { return content() / "blobs"; }
  sys::Path blobs(DigestAlgorithm algorithm) const { return blobs() / algorithm_name(algorithm); }
  sys::Path blob(const Digest& digest) const { return blobs(digest.algorithm()) / digest.hex(); }
};

inline constexpr DigestAlgorithm kAlgorithms[] = {DigestAlgorithm::kSha256,
                                                  DigestAlgorithm::kSha512};

}  // namespace skiff::content
