// Every ContentStore runs the suite.
#include "content/local/local_content_store.h"
#include "content/memory_content_store.h"
#include "tests/suites/content_suite.h"

namespace skiff::content {
namespace {

class MemoryHarness final : public ContentHarness {
 public:
  ContentStore& store() override { return store_; }

 private:
  MemoryContentStore store_;
};

class LocalHarness final : public ContentHarness {
 public:
  LocalHarness() { open(); }
  ~LocalHarness() override {
    auto findings = store_->fsck(Context(), true);
    EXPECT_TRUE(findings);
    for (const Finding& finding : *findings)
      ADD_FAILURE() << finding.kind << " " << finding.subject << ": " << finding.detail;
  }
  ContentStore& store() override { return *store_; }
  void restart() override {
    store_.reset();
    metadata_.reset();
    open();
    EXPECT_TRUE(store_->recover(Context()));
  }

 private:
  void open() {
    metadata_ = *metadata::Store::open(root_.path() / "metadata.db", {});
    store_ = *LocalContentStore::open(*metadata_, {.root = root_.path()});
  }

  sys::TempDir root_;
  std::unique_ptr<metadata::Store> metadata_;
  std::unique_ptr<LocalContentStore> store_;
};

std::string name_of(const testing::TestParamInfo<ContentImplementation>& info) {
  return info.param.name;
}

INSTANTIATE_TEST_SUITE_P(Memory, ContentSuite,
                         testing::Values(ContentImplementation{
                             "Memory", [] { return std::make_unique<MemoryHarness>(); }}),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Local, ContentSuite,
                         testing::Values(ContentImplementation{
                             "Local", [] { return std::make_unique<LocalHarness>(); }}),
                         name_of);

}  // namespace
}  // namespace skiff::content
