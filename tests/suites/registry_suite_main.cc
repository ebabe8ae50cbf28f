// Every implementation of the registry's seams runs the suite.
#include "registry/distribution.h"
#include "registry/memory_registry.h"
#include "tests/lib/fake_registry.h"
#include "tests/suites/registry_suite.h"

namespace skiff::registry {
namespace {

class MemoryHarness final : public RegistryHarness {
 public:
  explicit MemoryHarness(bool needs_credentials) {
    if (needs_credentials) registry_.require(credentials());
  }
  Resolver& resolver() override { return *resolver_; }
  std::string host() override { return "memory.test"; }
  Digest add_blob(std::string bytes) override { return registry_.add_blob(std::move(bytes)); }
  Digest add_manifest(const std::string& repository, const std::string& tag, std::string bytes,
                      const std::string& media_type) override {
    return registry_.add_manifest(repository, tag, std::move(bytes), media_type);
  }
  Credentials credentials() override { return {.username = "user", .password = "secret"}; }

 private:
  MemoryRegistry registry_;
  std::unique_ptr<Resolver> resolver_ = registry_.resolver();
};

class DistributionHarness final : public RegistryHarness {
 public:
  using Auth = testing::FakeRegistry::Auth;
  explicit DistributionHarness(Auth auth) : registry_({.auth = auth}) {}

  Resolver& resolver() override { return *resolver_; }
  std::string host() override { return registry_.host(); }
  Digest add_blob(std::string bytes) override {
    return *Digest::parse(registry_.add_blob(std::move(bytes)));
  }
  Digest add_manifest(const std::string& repository, const std::string& tag, std::string bytes,
                      const std::string& media_type) override {
    return *Digest::parse(registry_.add_manifest(repository, tag, std::move(bytes), media_type));
  }
  Credentials credentials() override { return {.username = "user", .password = "secret"}; }

 private:
  testing::FakeRegistry registry_;
  http::Client client_{{.proxies = http::ProxyRules{}}};
  std::unique_ptr<Resolver> resolver_ = make_distribution_resolver(
      client_, {.retry = {.attempts = 2, .first_wait = std::chrono::milliseconds(1)}});
};

RegistryImplementation over_http(const char* name, testing::FakeRegistry::Auth auth) {
  return {name, [auth](bool needs_credentials) {
            return std::make_unique<DistributionHarness>(
                needs_credentials ? auth : testing::FakeRegistry::Auth::kNone);
          }};
}

INSTANTIATE_TEST_SUITE_P(
    All, RegistrySuite,
    ::testing::Values(RegistryImplementation{"Memory",
                                             [](bool needs) {
                                               return std::make_unique<MemoryHarness>(needs);
                                             }},
                      over_http("DistributionBasic", testing::FakeRegistry::Auth::kBasic),
                      over_http("DistributionBearer", testing::FakeRegistry::Auth::kBearer)),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace skiff::registry
