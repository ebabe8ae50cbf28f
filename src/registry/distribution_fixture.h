// A fake registry and a resolver that is in a hurry, for tests of this folder.
#pragma once

#include <gtest/gtest.h>

#include "registry/distribution.h"
#include "tests/lib/fake_registry.h"
#include "tests/lib/temp_dir.h"

namespace skiff::registry {

inline constexpr char kManifestType[] = "application/vnd.oci.image.manifest.v1+json";

inline std::string random_bytes(size_t size) {
  std::string bytes(size, '\0');
  uint32_t state = 12345;
  for (char& c : bytes) c = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  return bytes;
}

class DistributionTest : public ::testing::Test {
 protected:
  using Ms = std::chrono::milliseconds;
  static constexpr Ms kLong{2000};

  static http::Client::Options client_options() {
    http::Client::Options options;
    options.proxies = http::ProxyRules{};
    return options;
  }
  DistributionOptions options() {
    DistributionOptions options;
    options.hosts_directories = {dir_.path()};
    options.timeouts = {kLong, kLong, kLong, 1};
    options.retry = {3, Ms(1), Ms(4), Ms(200)};
    return options;
  }
  void start(testing::FakeRegistry::Options fake = {}) {
    registry_ = std::make_unique<testing::FakeRegistry>(fake);
    resolver_ = make_distribution_resolver(client_, options());
    digest_ = registry_->add_blob(blob_);
    manifest_ = R"({"schemaVersion":2,"mediaType":")" + std::string(kManifestType) + "\"}";
    manifest_digest_ = registry_->add_manifest("app", "1", manifest_, kManifestType);
  }
  void SetUp() override { start(); }

  oci::Reference reference(const std::string& rest) {
    return *oci::Reference::parse(registry_->host() + "/" + rest);
  }
  oci::Descriptor blob() {
    oci::Descriptor descriptor;
    descriptor.media_type = oci::media_type::kOciLayerGzip;
    descriptor.digest = *Digest::parse(digest_);
    descriptor.size = blob_.size();
    return descriptor;
  }
  Result<std::string> fetch(Range range = {}, const Context& context = Context()) {
    auto fetcher = resolver_->fetcher(context, reference("app:1"), access_);
    if (!fetcher) return std::unexpected(fetcher.error());
    StringSink sink;
    Status status = (*fetcher)->fetch(context, blob(), range, sink);
    supports_ranges_ = (*fetcher)->supports_ranges();
    partial_ = sink.take();
    if (!status) return std::unexpected(status.error());
    return partial_;
  }
  Error fetch_error(Range range = {}) {
    auto bytes = fetch(range);
    EXPECT_FALSE(bytes);
    return bytes ? Error(Code::kOk, "") : bytes.error();
  }
  Error resolve_error(const std::string& rest = "app:1") {
    auto resolved = resolver_->resolve(Context(), reference(rest), access_);
    EXPECT_FALSE(resolved);
    return resolved ? Error(Code::kOk, "") : resolved.error();
  }
  // Sends what is for the fake registry first to these mirrors.
  void use_mirrors(const std::vector<std::string>& urls) {
    std::string text = "server = \"" + registry_->url() + "\"\n";
    for (auto& url : urls) text += "[host.\"" + url + "\"]\n";
    dir_.write(registry_->host() + "/hosts.toml", text);
  }
  void user(const std::string& password) {
    access_.credentials = fixed_credentials("", {.username = "user", .password = password});
  }

  testing::TempDir dir_;
  http::Client client_{client_options()};
  std::string blob_ = random_bytes(300'000);
  std::string digest_, manifest_, manifest_digest_;
  std::unique_ptr<testing::FakeRegistry> registry_;
  std::unique_ptr<Resolver> resolver_;
  Access access_;
  bool supports_ranges_ = false;
  std::string partial_;
};

}  // namespace skiff::registry
