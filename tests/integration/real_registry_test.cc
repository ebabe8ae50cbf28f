// The registry folder against Debian's docker-registry: TLS, client certificates, basic and token
// authentication, ranges, pushes and mounts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "codec/hash.h"
#include "registry/distribution.h"
#include "tests/lib/docker_registry.h"
#include "tests/lib/temp_dir.h"
#include "tests/lib/test_tls.h"
#include "tests/lib/token_server.h"

namespace skiff::registry {
namespace {

using testing::DockerRegistry;
using ::testing::HasSubstr;
using testing::TempDir;
using testing::TestCa;
using testing::TokenServer;

class RealRegistryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (DockerRegistry::program().empty()) GTEST_SKIP() << "docker-registry is not installed";
  }
  void start(const DockerRegistry::Options& options) {
    server_ = std::make_unique<DockerRegistry>(options);
  }
  oci::Reference reference(const std::string& rest) {
    return *oci::Reference::parse(server_->host() + "/" + rest);
  }
  oci::Descriptor describe(const std::string& bytes, std::string_view type) {
    oci::Descriptor descriptor;
    descriptor.media_type = type;
    descriptor.digest = codec::digest_of(bytes);
    descriptor.size = bytes.size();
    return descriptor;
  }
  Status push_blob(Pusher& pusher, const std::string& bytes, std::string_view type) {
    return pusher.put_blob(Context(), describe(bytes, type), [&](uint64_t offset) {
      return Result<std::unique_ptr<ByteSource>>(
          std::make_unique<MemorySource>(std::string_view(bytes).substr(offset)));
    });
  }
  // Pushes an image of one layer and the given config.
  Status push_image(const std::string& name) {
    auto pusher = SKIFF_TRY(resolver_->pusher(Context(), reference(name), access_));
    SKIFF_TRY(push_blob(*pusher, layer_, oci::media_type::kOciLayer));
    SKIFF_TRY(push_blob(*pusher, config_, oci::media_type::kOciConfig));
    oci::Manifest manifest;
    manifest.media_type = oci::media_type::kOciManifest;
    manifest.config = describe(config_, oci::media_type::kOciConfig);
    manifest.layers = {describe(layer_, oci::media_type::kOciLayer)};
    manifest_ = manifest.to_json_text();
    return pusher->put_manifest(Context(), *reference(name).tag(),
                                describe(manifest_, oci::media_type::kOciManifest), manifest_);
  }
  void expect_pull(const std::string& name) {
    auto resolved = resolver_->resolve(Context(), reference(name), access_);
    ASSERT_TRUE(resolved) << resolved.error().message();
    EXPECT_EQ(resolved->descriptor.digest, codec::digest_of(manifest_));
    StringSink manifest;
    ASSERT_TRUE(resolved->fetcher->fetch(Context(), resolved->descriptor, {}, manifest));
    EXPECT_EQ(manifest.take(), manifest_);
    oci::Descriptor layer = describe(layer_, oci::media_type::kOciLayer);
    StringSink whole;
    Status fetched = resolved->fetcher->fetch(Context(), layer, {}, whole);
    ASSERT_TRUE(fetched) << fetched.error().message();
    EXPECT_EQ(codec::digest_of(whole.take()), layer.digest);
    StringSink piece;
    ASSERT_TRUE(resolved->fetcher->fetch(Context(), layer, {1'000'000, 500'000}, piece));
    EXPECT_EQ(piece.take(), layer_.substr(1'000'000, 500'000));
    EXPECT_TRUE(resolved->fetcher->supports_ranges());
  }

  TempDir dir_;
  http::Client client_{{.proxies = http::ProxyRules{}}};
  std::unique_ptr<Resolver> resolver_ = make_distribution_resolver(
      client_, {.hosts_directories = {dir_.path()},
                .retry = {.attempts = 2, .first_wait = std::chrono::milliseconds(10)}});
  std::unique_ptr<DockerRegistry> server_;
  Access access_;
  std::string layer_ = std::string(3'000'000, 'l') + "end";
  std::string config_ = R"({"architecture":"amd64","os":"linux","rootfs":{"type":"layers"}})";
  std::string manifest_;
};

TEST_F(RealRegistryTest, PushPullAndMount) {
  start({});
  Status pushed = push_image("team/app:1");
  ASSERT_TRUE(pushed) << pushed.error().message();
  expect_pull("team/app:1");
  auto other = *resolver_->pusher(Context(), reference("other:1"), access_);
  Digest layer = codec::digest_of(layer_);
  EXPECT_FALSE(*other->has_blob(Context(), layer));
  EXPECT_TRUE(*other->mount_blob(Context(), layer, "team/app"));
  EXPECT_TRUE(*other->has_blob(Context(), layer));
  EXPECT_FALSE(*other->mount_blob(Context(), codec::digest_of("no such"), "team/app"));

  auto missing = resolver_->resolve(Context(), reference("team/app:2"), access_);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code(), Code::kNotFound);
  oci::Descriptor wrong = describe("x", oci::media_type::kOciManifest);
  Status refused = other->put_manifest(Context(), "1", wrong, "x");
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message(), HasSubstr("MANIFEST_INVALID"));
}

TEST_F(RealRegistryTest, TlsWithBasicAuthentication) {
  TestCa ca(dir_.path());
  testing::CertFiles files = ca.issue("registry");
  start({.tls = {files.cert, files.key}, .users = {{"alice", "open sesame"}}});
  dir_.write(server_->host() + "/ca.crt", *sys::read_file(ca.cert_file()));

  Status anonymous = push_image("app:1");
  ASSERT_FALSE(anonymous);
  EXPECT_EQ(anonymous.error().code(), Code::kUnauthenticated);
  access_.credentials =
      fixed_credentials(server_->host(), {.username = "alice", .password = "wrong"});
  EXPECT_EQ(push_image("app:1").error().code(), Code::kUnauthenticated);
  access_.credentials =
      fixed_credentials(server_->host(), {.username = "alice", .password = "open sesame"});
  Status pushed = push_image("app:1");
  ASSERT_TRUE(pushed) << pushed.error().message();
  expect_pull("app:1");

  std::filesystem::remove(dir_ / (server_->host() + "/ca.crt"));
  dir_.write(server_->host() + "/hosts.toml", "server = \"" + server_->url() + "\"\n");
  auto untrusted = resolver_->resolve(Context(), reference("app:1"), access_);
  ASSERT_FALSE(untrusted);
  EXPECT_EQ(untrusted.error().code(), Code::kFailedPrecondition);
}

TEST_F(RealRegistryTest, ClientCertificates) {
  TestCa ca(dir_.path());
  testing::CertFiles files = ca.issue("registry");
  testing::CertFiles mine = ca.issue("me");
  start({.tls = {files.cert, files.key, ca.cert_file()}});
  std::string server = "server = \"" + server_->url() + "\"\nca = \"" + ca.cert_file() + "\"\n";
  dir_.write(server_->host() + "/hosts.toml", server);
  EXPECT_FALSE(push_image("app:1"));
  dir_.write(server_->host() + "/hosts.toml",
             server + "client = [[\"" + mine.cert + "\", \"" + mine.key + "\"]]\n");
  Status pushed = push_image("app:1");
  ASSERT_TRUE(pushed) << pushed.error().message();
  expect_pull("app:1");
}

TEST_F(RealRegistryTest, TokenAuthentication) {
  TestCa ca(dir_.path(), /*rsa=*/true);
  TokenServer tokens(ca, "bob", "pa:ss w\"ord");
  start(tokens.registry_options());

  Status anonymous = push_image("team/app:1");
  ASSERT_FALSE(anonymous);
  EXPECT_EQ(anonymous.error().code(), Code::kUnauthenticated);
  access_.credentials = fixed_credentials("", {.username = "bob", .password = "pa:ss w\"ord"});
  Status pushed = push_image("team/app:1");
  ASSERT_TRUE(pushed) << pushed.error().message();
  int before = tokens.tokens_given();
  expect_pull("team/app:1");
  EXPECT_EQ(tokens.tokens_given(), before + 1) << "one token serves a whole pull";

  auto other = *resolver_->pusher(Context(), reference("team/other:1"), access_);
  EXPECT_TRUE(*other->mount_blob(Context(), codec::digest_of(layer_), "team/app"));
  access_ = {};
  expect_pull("team/app:1");
}

}  // namespace
}  // namespace skiff::registry
