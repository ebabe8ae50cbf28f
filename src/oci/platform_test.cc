#include "oci/platform.h"

#include <gtest/gtest.h>

namespace skiff::oci {
namespace {

Platform platform(std::string_view text) { return Platform::parse(text).value(); }

TEST(Platform, NormalisesNames) {
  EXPECT_EQ(platform("linux/amd64").str(), "linux/amd64");
  EXPECT_EQ(platform("Linux/x86_64").str(), "linux/amd64");
  EXPECT_EQ(platform("linux/amd64/v1").str(), "linux/amd64");
  EXPECT_EQ(platform("linux/amd64/3").str(), "linux/amd64/v3");
  EXPECT_EQ(platform("linux/aarch64").str(), "linux/arm64/v8");
  EXPECT_EQ(platform("arm64").str(), "linux/arm64/v8");
  EXPECT_EQ(platform("arm64/v9").str(), "linux/arm64/v9");
  EXPECT_EQ(platform("armhf").str(), "linux/arm/v7");
  EXPECT_EQ(platform("linux/armel").str(), "linux/arm/v6");
  EXPECT_EQ(platform("linux/arm/6").str(), "linux/arm/v6");
  EXPECT_EQ(platform("arm/v5").str(), "linux/arm/v5");
  EXPECT_EQ(platform("linux/i686").str(), "linux/386");
  EXPECT_EQ(platform("linux/loongarch64").str(), "linux/loong64");
  EXPECT_EQ(platform("macos/arm64").str(), "darwin/arm64/v8");
  EXPECT_EQ(platform("windows(10.0.17763)/amd64").str(), "windows(10.0.17763)/amd64");
  EXPECT_EQ(platform("plan10/pdp11/x").str(), "plan10/pdp11/x");
}

TEST(Platform, ASystemAloneMeansThisMachine) {
  EXPECT_EQ(platform("linux"), Platform::host());
  EXPECT_EQ(Platform::host().os, "linux");
  EXPECT_EQ(Platform::host(), Platform::host().normalized());
}

TEST(Platform, RefusesWhatIsMalformed) {
  for (std::string_view bad : {"", "/", "linux/", "/amd64", "linux/amd64/v1/x", "pdp11", "a b/c",
                               "linux//v7", "linux(/amd64", "linux()/amd64"}) {
    auto result = Platform::parse(bad);
    ASSERT_FALSE(result) << bad;
    EXPECT_EQ(result.error().code(), Code::kInvalidArgument);
  }
}

std::string ranks(std::string_view wanted) {
  std::string out;
  for (const Platform& each : runnable(platform(wanted))) {
    if (!out.empty()) out += " ";
    out += each.str().substr(6);
  }
  return out;
}

TEST(Platform, RunsOlderVariantsBestFirst) {
  EXPECT_EQ(ranks("linux/amd64"), "amd64 386");
  EXPECT_EQ(ranks("linux/amd64/v3"), "amd64/v3 amd64/v2 amd64 386");
  EXPECT_EQ(ranks("linux/arm/v7"), "arm/v7 arm/v6 arm/v5");
  EXPECT_EQ(ranks("linux/arm64/v9"), "arm64/v9 arm64/v8 arm/v8 arm/v7 arm/v6 arm/v5");
  EXPECT_EQ(ranks("linux/arm64/v8.2"), "arm64/v8.2 arm64/v8 arm/v8 arm/v7 arm/v6 arm/v5");
  EXPECT_EQ(ranks("linux/s390x"), "s390x");
  EXPECT_EQ(ranks("linux/arm/hard"), "arm/hard");
  EXPECT_LT(runnable(platform("linux/amd64/v99999999999")).size(), 64u);
}

TEST(Platform, MatchRanks) {
  EXPECT_EQ(match(platform("linux/amd64/v3"), platform("linux/amd64/v3")), 0);
  EXPECT_EQ(match(platform("linux/amd64/v3"), platform("linux/amd64")), 2);
  EXPECT_EQ(match(platform("linux/amd64"), platform("linux/amd64/v2")), std::nullopt);
  EXPECT_EQ(match(platform("linux/arm/v6"), platform("linux/arm")), std::nullopt);
  EXPECT_EQ(match(platform("linux/arm64"), Platform{"linux", "arm64", "", ""}), 0);
  EXPECT_EQ(match(platform("linux/amd64"), platform("windows/amd64")), std::nullopt);
  EXPECT_EQ(match(platform("windows(10.1)/amd64"), platform("windows(10.2)/amd64")), std::nullopt);
  EXPECT_EQ(match(platform("windows/amd64"), platform("windows(10.2)/amd64")), 0);
}

}  // namespace
}  // namespace skiff::oci
