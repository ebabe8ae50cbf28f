#include "layer/names.h"

#include <gtest/gtest.h>

namespace skiff::layer {
namespace {

TEST(Names, AreCleanedAndStayInside) {
  auto clean = [](std::string_view name) { return clean_name(name, 100).value(); };
  EXPECT_EQ(clean("a/b"), "a/b");
  EXPECT_EQ(clean("./a//b/."), "a/b");
  EXPECT_EQ(clean("/etc/passwd"), "etc/passwd");
  EXPECT_EQ(clean("a/../b/c/.."), "b");
  EXPECT_EQ(clean("a/.."), "");
  EXPECT_EQ(clean("./"), "");
  EXPECT_EQ(clean("..a/b.."), "..a/b..");
}

TEST(Names, ThatClimbOutOrAreTooLongAreRefused) {
  for (std::string_view bad : {"..", "../a", "/..", "a/../../b", "a/b/../../../etc"})
    EXPECT_EQ(clean_name(bad, 100).error().code(), Code::kInvalidArgument) << bad;
  std::string deep;
  for (int i = 0; i < 10'000; ++i) deep += "d/";
  EXPECT_FALSE(clean_name(deep, 1000));
  EXPECT_FALSE(clean_name(deep, 100'000));
  EXPECT_FALSE(clean_name(std::string(4096, 'x'), 1000));
  EXPECT_TRUE(clean_name(std::string(4095, 'x'), 1000));
}

TEST(Names, SplitJoinAndNest) {
  EXPECT_EQ(split_name("a/b/c").parent, "a/b");
  EXPECT_EQ(split_name("a").base, "a");
  EXPECT_EQ(join_name("", "a"), "a");
  EXPECT_EQ(join_name("a", "b"), "a/b");
  EXPECT_TRUE(is_within("a/b", "a"));
  EXPECT_TRUE(is_within("a", "a"));
  EXPECT_TRUE(is_within("a", ""));
  EXPECT_FALSE(is_within("ab", "a"));
  EXPECT_EQ(shown("a\n\x1b[31m"), "a??[31m");
}

}  // namespace
}  // namespace skiff::layer
