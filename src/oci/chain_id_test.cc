#include <gtest/gtest.h>

#include "oci/descriptor.h"

namespace skiff::oci {
namespace {

TEST(ChainIds, FollowTheImageSpecification) {
  std::vector<Digest> diff_ids;
  for (char c : {'1', '2', '3'})
    diff_ids.push_back(Digest::from_hex(DigestAlgorithm::kSha256, std::string(64, c)));
  std::vector<Digest> chain = chain_ids(diff_ids);
  ASSERT_EQ(chain.size(), 3u);
  EXPECT_EQ(chain[0], diff_ids[0]);
  // printf 'sha256:11.. sha256:22..' | sha256sum, and so on.
  EXPECT_EQ(chain[1].hex(), "9932074217c35353d2e03a3f5a86549f7c67bfeb0ba53e23d69f4d4c8f7958f5");
  EXPECT_EQ(chain[2].hex(), "50127c0d6b338be78246434b4bce23ecf75e505158ea0bbd15effeb162fbf3ec");
  EXPECT_TRUE(chain_ids({}).empty());
}

}  // namespace
}  // namespace skiff::oci
