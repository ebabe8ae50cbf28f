#include "bin/skiff/args.h"

#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace skiff::cli {
namespace {

using ::testing::HasSubstr;

ParsedArgs parse(std::vector<const char*> words) {
  words.insert(words.begin(), "skiff");
  return parse_args(static_cast<int>(words.size()), words.data());
}

TEST(Args, GlobalOptionsStandBeforeAndAfterTheVerb) {
  unsetenv("SKIFF_ADDRESS");
  EXPECT_EQ(parse({"images"}).invocation->global.address, "/run/skiff/skiff.sock");
  EXPECT_EQ(parse({"--address", "/a", "images"}).invocation->global.address, "/a");
  ParsedArgs after = parse({"images", "--address", "/b", "--json", "--namespace", "k8s.io"});
  EXPECT_EQ(after.invocation->global.address, "/b");
  EXPECT_EQ(after.invocation->global.name_space, "k8s.io");
  EXPECT_TRUE(after.invocation->global.json);
  setenv("SKIFF_ADDRESS", "/env", 1);
  EXPECT_EQ(parse({"images"}).invocation->global.address, "/env");
  EXPECT_EQ(parse({"--address", "/a", "images"}).invocation->global.address, "/a");
  unsetenv("SKIFF_ADDRESS");
}

TEST(Args, UsageErrorsAreStatus2And125ForRun) {
  for (std::vector<const char*> bad : {std::vector<const char*>{},
                                       {"bogus"},
                                       {"pull"},
                                       {"images", "--bogus"},
                                       {"pull", "--concurrency", "0", "x"},
                                       {"tag", "a"}}) {
    ParsedArgs parsed = parse(bad);
    EXPECT_FALSE(parsed.invocation);
    EXPECT_EQ(parsed.status, 2);
    EXPECT_THAT(parsed.text, HasSubstr("--help"));
  }
  for (std::vector<const char*> bad : {std::vector<const char*>{"run"},
                                       {"run", "--bogus", "busybox"},
                                       {"run", "--rm"},
                                       {"run", "--pull", "sometimes", "busybox"},
                                       {"--json", "run", "-e"}}) {
    ParsedArgs parsed = parse(bad);
    EXPECT_FALSE(parsed.invocation);
    EXPECT_EQ(parsed.status, 125);
  }
}

TEST(Args, HelpIsNoError) {
  ParsedArgs help = parse({"--help"});
  EXPECT_FALSE(help.invocation);
  EXPECT_EQ(help.status, 0);
  EXPECT_THAT(help.text, HasSubstr("pull"));
  EXPECT_THAT(parse({"run", "--help"}).text, HasSubstr("--workdir"));
  EXPECT_THAT(parse({"--version"}).text, HasSubstr("skiff 0."));
}

TEST(Args, FailuresOfRunAre125) {
  EXPECT_EQ(parse({"run", "--rm", "busybox"}).invocation->failure_status, 125);
  EXPECT_EQ(parse({"images"}).invocation->failure_status, 1);
}

}  // namespace
}  // namespace skiff::cli
