// What every ContentStore must do. An implementation joins with a harness and one
// INSTANTIATE_TEST_SUITE_P in content_suite_main.cc.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "content/content_store.h"

namespace skiff::content {

class ContentHarness {
 public:
  virtual ~ContentHarness() = default;
  virtual ContentStore& store() = 0;
  // Ends the store and opens it again as a new daemon would; nothing for one without a disk.
  virtual void restart() {}
};

struct ContentImplementation {
  std::string name;
  std::function<std::unique_ptr<ContentHarness>()> make;
};

class ContentSuite : public ::testing::TestWithParam<ContentImplementation> {
 protected:
  void SetUp() override { harness_ = GetParam().make(); }
  ContentStore& store() { return harness_->store(); }

  // A blob committed under the context.
  Digest put(const Context& context, std::string_view text, const Labels& labels = {});
  std::string get(const Context& context, const Digest& digest);

  std::unique_ptr<ContentHarness> harness_;
  Context context_;
  Context other_ = Context().with_namespace("other");
};

}  // namespace skiff::content
