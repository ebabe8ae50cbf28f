#include "content/verify.h"

namespace skiff::content {

Result<Expected> merge(const Expected& at_start, const Expected& at_commit) {
  Expected both = at_start;
  if (!at_commit.digest.empty()) {
    if (!both.digest.empty() && both.digest != at_commit.digest)
      return fail(Code::kFailedPrecondition, "the ingest was started for {}, not for {}",
                  both.digest, at_commit.digest);
    both.digest = at_commit.digest;
  }
  if (at_commit.size != 0) {
    if (both.size != 0 && both.size != at_commit.size)
      return fail(Code::kFailedPrecondition, "the ingest was started for {} bytes, not for {}",
                  both.size, at_commit.size);
    both.size = at_commit.size;
  }
  return both;
}

Result<Digest> verify(const std::string& ref, uint64_t size, const Expected& expected,
                      const Digest& computed,
                      const std::function<Result<Digest>(DigestAlgorithm)>& hash) {
  if (expected.size != 0 && size != expected.size)
    return fail(Code::kDataLoss, "{}: {} bytes came where {} were announced", ref, size,
                expected.size);
  DigestAlgorithm algorithm =
      expected.digest.empty() ? DigestAlgorithm::kSha256 : expected.digest.algorithm();
  Digest digest = computed;
  if (digest.empty() || (!expected.digest.empty() && digest.algorithm() != algorithm))
    digest = SKIFF_TRY(hash(algorithm));
  if (!expected.digest.empty() && digest != expected.digest)
    return fail(Code::kDataLoss, "{}: the {} bytes that came hash to {}, not to {}", ref, size,
                digest, expected.digest);
  return digest;
}

}  // namespace skiff::content
