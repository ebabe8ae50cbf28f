// What every registry behind the seams (Resolver, Fetcher, Pusher) must do. An implementation joins
// with a harness and one INSTANTIATE_TEST_SUITE_P in registry_suite_main.cc.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "registry/registry.h"

namespace skiff::registry {

class RegistryHarness {
 public:
  virtual ~RegistryHarness() = default;
  virtual Resolver& resolver() = 0;
  // The name before the repository in references.
  virtual std::string host() = 0;
  virtual Digest add_blob(std::string bytes) = 0;
  virtual Digest add_manifest(const std::string& repository, const std::string& tag,
                              std::string bytes, const std::string& media_type) = 0;
  // A registry that serves nobody without these; made so by the implementation's factory.
  virtual Credentials credentials() = 0;
};

struct RegistryImplementation {
  std::string name;
  std::function<std::unique_ptr<RegistryHarness>(bool needs_credentials)> make;
};

class RegistrySuite : public ::testing::TestWithParam<RegistryImplementation> {
 protected:
  void SetUp() override { start(false); }
  void start(bool needs_credentials) { harness_ = GetParam().make(needs_credentials); }

  oci::Reference reference(const std::string& rest);
  Result<Resolved> resolve(const std::string& rest);
  FetcherPtr fetcher(const std::string& rest = "app:1");
  std::unique_ptr<Pusher> pusher(const std::string& rest = "new:1");
  oci::Descriptor blob(const std::string& bytes);

  std::unique_ptr<RegistryHarness> harness_;
  Access access_;
  Context context_;
};

}  // namespace skiff::registry
