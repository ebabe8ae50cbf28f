#include "codec/hash.h"
#include "oci/descriptor.h"

namespace skiff::oci {

std::vector<Digest> chain_ids(const std::vector<Digest>& diff_ids) {
  std::vector<Digest> out;
  out.reserve(diff_ids.size());
  for (const Digest& diff_id : diff_ids) {
    out.push_back(out.empty() ? diff_id : codec::digest_of(out.back().str() + " " + diff_id.str()));
  }
  return out;
}

}  // namespace skiff::oci
