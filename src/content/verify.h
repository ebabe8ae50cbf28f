// What every ContentStore checks before an ingest may become a blob.
#pragma once

#include <functional>

#include "content/content_store.h"

namespace skiff::content {

// The two sets of expectations (the ingest's and the commit's) as one. FailedPrecondition when they
// contradict each other.
Result<Expected> merge(const Expected& at_start, const Expected& at_commit);

// The digest of `size` stored bytes, after holding it against what is expected: DataLoss names what
// differs. `computed` is the caller's own digest; where it is empty or of another algorithm than
// the expected one, `hash` reads the bytes.
Result<Digest> verify(const std::string& ref, uint64_t size, const Expected& expected,
                      const Digest& computed,
                      const std::function<Result<Digest>(DigestAlgorithm)>& hash);

}  // namespace skiff::content
