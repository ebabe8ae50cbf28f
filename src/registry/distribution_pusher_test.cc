// Pushing over HTTP, and what goes wrong on the way.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "registry/distribution_fixture.h"

namespace skiff::registry {
namespace {

using testing::FakeRegistry;
using ::testing::HasSubstr;

class PushTest : public DistributionTest {
 protected:
  std::unique_ptr<Pusher> pusher(const std::string& name = "new:1") {
    return *resolver_->pusher(Context(), reference(name), access_);
  }
  oci::Descriptor descriptor(const std::string& bytes, std::string_view type) {
    oci::Descriptor d;
    d.media_type = type;
    d.digest = *Digest::parse(testing::sha256_of(bytes));
    d.size = bytes.size();
    return d;
  }
  Pusher::OpenAt open(const std::string& bytes) {
    return [this, &bytes](uint64_t offset) -> Result<std::unique_ptr<ByteSource>> {
      offsets_.push_back(offset);
      return std::make_unique<MemorySource>(std::string_view(bytes).substr(offset));
    };
  }
  std::string bytes_ = random_bytes(200'001);
  std::vector<uint64_t> offsets_;
};

TEST_F(PushTest, BlobsAndManifests) {
  auto push = pusher();
  oci::Descriptor layer = descriptor(bytes_, oci::media_type::kOciLayer);
  EXPECT_FALSE(*push->has_blob(Context(), layer.digest));
  Status put = push->put_blob(Context(), layer, open(bytes_));
  ASSERT_TRUE(put) << put.error().message();
  EXPECT_TRUE(*push->has_blob(Context(), layer.digest));
  EXPECT_EQ(registry_->blob(layer.digest.str()), bytes_);
  std::string manifest = "{}";
  ASSERT_TRUE(push->put_manifest(Context(), "1", descriptor(manifest, kManifestType), manifest));
  EXPECT_EQ(registry_->manifest("new", "1"), manifest);
  std::string empty;
  ASSERT_TRUE(push->put_blob(Context(), descriptor(empty, "x/y"), open(empty)));
}

TEST_F(PushTest, Mounts) {
  auto push = pusher();
  EXPECT_TRUE(*push->mount_blob(Context(), *Digest::parse(digest_), "app"));
  auto other = *Digest::parse(testing::sha256_of("other"));
  EXPECT_FALSE(*push->mount_blob(Context(), other, "app"));
  EXPECT_EQ(registry_->count("DELETE", ""), 1) << "the upload opened instead is ended";
  registry_->inject({.method = "POST", .status = 403});
  EXPECT_FALSE(*push->mount_blob(Context(), other, "app"));
}

TEST_F(PushTest, ResumesABrokenUpload) {
  registry_->inject({.method = "PUT", .keep_of_upload = 100'000});
  registry_->inject({.method = "PATCH", .keep_of_upload = 50'000});
  auto push = pusher();
  oci::Descriptor layer = descriptor(bytes_, oci::media_type::kOciLayer);
  Status put = push->put_blob(Context(), layer, open(bytes_));
  ASSERT_TRUE(put) << put.error().message();
  EXPECT_EQ(registry_->blob(layer.digest.str()), bytes_);
  EXPECT_THAT(offsets_, ::testing::ElementsAre(0, 100'000, 150'000));
}

TEST_F(PushTest, StartsAnewWhenTheUploadIsGone) {
  registry_->inject({.method = "PUT", .status = 502});
  registry_->inject({.method = "GET", .status = 404});
  auto push = pusher();
  oci::Descriptor layer = descriptor(bytes_, oci::media_type::kOciLayer);
  Status put = push->put_blob(Context(), layer, open(bytes_));
  ASSERT_TRUE(put) << put.error().message();
  EXPECT_EQ(registry_->count("POST", "/uploads/"), 2);
}

TEST_F(PushTest, RefusalsAreClear) {
  auto push = pusher();
  oci::Descriptor layer = descriptor("other bytes", oci::media_type::kOciLayer);
  layer.size = bytes_.size();
  Status wrong = push->put_blob(Context(), layer, open(bytes_));
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code(), Code::kInvalidArgument);
  EXPECT_THAT(wrong.error().message(), HasSubstr("DIGEST_INVALID"));
  registry_->inject({.method = "PUT", .status = 403});
  std::string manifest = "{}";
  Status denied = push->put_manifest(Context(), "1", descriptor(manifest, kManifestType), manifest);
  ASSERT_FALSE(denied);
  EXPECT_EQ(denied.error().code(), Code::kPermissionDenied);
  EXPECT_THAT(denied.error().message(), HasSubstr("/new"));
}

TEST_F(PushTest, AnUploadLedElsewhereGoesWithoutCredentials) {
  FakeRegistry::Options basic;
  basic.auth = FakeRegistry::Auth::kBasic;
  start(basic);
  user("secret");
  std::atomic<int> asked = 0, with_credentials = 0;
  testing::HttpServer other([&](testing::Exchange& x) {
    ++asked;
    if (x.request.headers.contains("authorization")) ++with_credentials;
    x.respond(401, {{"WWW-Authenticate", "Basic realm=\"trap\""}});
  });
  registry_->inject({.method = "POST",
                     .skip = 1,
                     .times = -1,
                     .status = 202,
                     .headers = {{"Location", other.url() + "/upload"}}});
  Status put =
      pusher()->put_blob(Context(), descriptor(bytes_, oci::media_type::kOciLayer), open(bytes_));
  ASSERT_FALSE(put);
  EXPECT_EQ(put.error().code(), Code::kUnauthenticated);
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(with_credentials, 0);
}

TEST_F(PushTest, AsksForTheRightToPush) {
  FakeRegistry::Options bearer;
  bearer.auth = FakeRegistry::Auth::kBearer;
  start(bearer);
  user("secret");
  auto push = pusher();
  oci::Descriptor layer = descriptor(bytes_, oci::media_type::kOciLayer);
  ASSERT_TRUE(push->put_blob(Context(), layer, open(bytes_)));
  registry_->revoke_tokens();
  EXPECT_TRUE(*push->has_blob(Context(), layer.digest));
  EXPECT_TRUE(*push->mount_blob(Context(), *Digest::parse(digest_), "app"));
  access_ = {};
  Status anonymous = pusher()->put_blob(Context(), layer, open(bytes_));
  ASSERT_FALSE(anonymous);
  EXPECT_EQ(anonymous.error().code(), Code::kUnauthenticated);
}

}  // namespace
}  // namespace skiff::registry
