#include "base/metrics/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace skiff::metrics {
namespace {

using testing::HasSubstr;

TEST(Metrics, SameNameAndLabelsAreOneCounter) {
  counter("skiff_test_total", "A test.", {{"kind", "a"}}).increment();
  counter("skiff_test_total", "A test.", {{"kind", "a"}}).increment(2);
  counter("skiff_test_total", "A test.", {{"kind", "b"}}).increment();
  EXPECT_THAT(serialize(), HasSubstr("skiff_test_total{kind=\"a\"} 3"));
  EXPECT_THAT(serialize(), HasSubstr("skiff_test_total{kind=\"b\"} 1"));
}

TEST(Metrics, HistogramCountsIntoBuckets) {
  duration_histogram("skiff_test_seconds", "A test.").observe(0.003);
  EXPECT_THAT(serialize(), HasSubstr("skiff_test_seconds_bucket{le=\"0.005\"} 1"));
}

}  // namespace
}  // namespace skiff::metrics
