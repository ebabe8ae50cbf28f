#include "bin/skiff/text.h"

#include <gtest/gtest.h>

#include "tests/lib/golden.h"

namespace skiff::cli {
namespace {

using namespace std::chrono_literals;

TEST(Text, BytesHaveThreeDigits) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(999), "999 B");
  EXPECT_EQ(human_bytes(1000), "1.00 kB");
  EXPECT_EQ(human_bytes(9'994), "9.99 kB");
  EXPECT_EQ(human_bytes(9'996), "10.0 kB");
  EXPECT_EQ(human_bytes(71'400'000), "71.4 MB");
  EXPECT_EQ(human_bytes(999'600'000), "1.00 GB");
  EXPECT_EQ(human_bytes(328'000'000), "328 MB");
  EXPECT_EQ(human_bytes(UINT64_MAX), "18.4 EB");
}

TEST(Text, DurationsSuitTheirLength) {
  EXPECT_EQ(human_duration(850ms), "850 ms");
  EXPECT_EQ(human_duration(1240ms), "1.24 s");
  EXPECT_EQ(human_duration(59'990ms), "1 m 0 s");
  EXPECT_EQ(human_duration(125s), "2 m 5 s");
  EXPECT_EQ(human_duration(190min), "3 h 10 m");
}

TEST(Text, AgesSuitTheirLength) {
  constexpr int64_t kSecond = 1'000'000'000, kNow = 1'800'000'000 * kSecond;
  auto before = [&](int64_t seconds) { return age(kNow - seconds * kSecond, kNow); };
  EXPECT_EQ(age(int64_t{0}, kNow), "-");
  EXPECT_EQ(before(0), "now");
  EXPECT_EQ(before(90), "90 seconds ago");
  EXPECT_EQ(before(7199), "119 minutes ago");
  EXPECT_EQ(before(3 * 3600), "3 hours ago");
  EXPECT_EQ(before(3 * 86400), "3 days ago");
  EXPECT_EQ(before(20 * 86400), "2 weeks ago");
  EXPECT_EQ(before(100 * 86400), "3 months ago");
  EXPECT_EQ(before(800 * 86400), "2 years ago");
  EXPECT_EQ(before(-60), "in the future");
  EXPECT_EQ(age("1970-01-01T00:00:00Z", kNow), "-");
  EXPECT_EQ(age("nonsense", kNow), "-");
  EXPECT_EQ(age(rfc3339(kNow - 3 * 86400 * kSecond), kNow), "3 days ago");
}

TEST(Text, TimesAreRfc3339) {
  EXPECT_EQ(rfc3339(1'800'000'000'000'000'000), "2027-01-15T08:00:00Z");
  EXPECT_EQ(rfc3339(0), "");
}

TEST(Text, SizesAreReadAsDockerDoes) {
  EXPECT_EQ(parse_bytes("512"), 512u);
  EXPECT_EQ(parse_bytes("64m"), 64u << 20);
  EXPECT_EQ(parse_bytes("1.5GiB"), 1536u << 20);
  EXPECT_EQ(parse_bytes("2 kb"), 2048u);
  EXPECT_EQ(parse_bytes("7b"), 7u);
  for (std::string_view bad : {"", "m", "-1", "1x", "1mm", "1miB1", "99999999p", "nan", "7bb"})
    EXPECT_FALSE(parse_bytes(bad)) << bad;
}

TEST(Text, WidthsCountCharacters) {
  EXPECT_EQ(columns("aé日"), 3u);
  EXPECT_EQ(clip("aé日b", 2), "aé");
  EXPECT_EQ(clip("ab", 5), "ab");
  EXPECT_EQ(pad("é", 3), "é  ");
}

TEST(Text, NothingFromElsewhereCommandsTheTerminal) {
  EXPECT_EQ(printable("a\x1b[2Jb\r\x7f\n"), "a?[2Jb??\n");
}

TEST(Text, ShortNames) {
  EXPECT_EQ(short_digest("sha256:0123456789abcdef"), "0123456789ab");
  EXPECT_EQ(short_digest("sha256:01"), "sha256:01");
  EXPECT_EQ(short_digest("name"), "name");
  EXPECT_EQ(familiar("docker.io/library/redis:7"), "redis:7");
  EXPECT_EQ(familiar("Not A Reference"), "Not A Reference");
}

TEST(Table, AlignsItsColumns) {
  Table table({"REPOSITORY", "TAG", "SIZE"});
  table.add({"redis", "7", "71.4 MB"});
  table.add({"localhost:5000/team/a-long-name", "latest", "1.03 GB"});
  table.add({"café", "", ""});
  testing::expect_golden("cli/table.txt", table.text());
}

}  // namespace
}  // namespace skiff::cli
