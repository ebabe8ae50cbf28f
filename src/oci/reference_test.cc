#include "oci/reference.h"

#include <gtest/gtest.h>

namespace skiff::oci {
namespace {

const std::string kHex(64, 'a');
const std::string kDigest = "sha256:" + kHex;

struct Form {
  std::string typed, canonical, familiar;
};

TEST(Reference, TakesEveryFormThatUsersType) {
  const std::vector<Form> forms = {
      {"redis", "docker.io/library/redis:latest", "redis:latest"},
      {"redis:7", "docker.io/library/redis:7", "redis:7"},
      {"user/app:1", "docker.io/user/app:1", "user/app:1"},
      {"docker.io/redis", "docker.io/library/redis:latest", "redis:latest"},
      {"index.docker.io/library/redis:7", "docker.io/library/redis:7", "redis:7"},
      {"docker.io/a/b/c", "docker.io/a/b/c:latest", "a/b/c:latest"},
      {"library/redis", "docker.io/library/redis:latest", "redis:latest"},
      {"localhost/app", "localhost/app:latest", "localhost/app:latest"},
      {"localhost:5000/a/b:x", "localhost:5000/a/b:x", "localhost:5000/a/b:x"},
      {"[::1]:5000/app", "[::1]:5000/app:latest", "[::1]:5000/app:latest"},
      {"[fe80::1]/app:2", "[fe80::1]/app:2", "[fe80::1]/app:2"},
      {"192.168.0.1:80/a", "192.168.0.1:80/a:latest", "192.168.0.1:80/a:latest"},
      {"GHCR/app", "GHCR/app:latest", "GHCR/app:latest"},
      {"ghcr.io/Owner", "", ""},
      {"redis@" + kDigest, "docker.io/library/redis@" + kDigest, "redis@" + kDigest},
      {"redis:7@" + kDigest, "docker.io/library/redis:7@" + kDigest, "redis:7@" + kDigest},
      {"h.io:5/r:1@" + kDigest, "h.io:5/r:1@" + kDigest, "h.io:5/r:1@" + kDigest},
      {"docker.io/my.org/app", "docker.io/my.org/app:latest", "docker.io/my.org/app:latest"},
      {"a-b.c__d---e/f_g", "", ""},  // a dot in the first part makes it a registry, "_" none
      {"x/a-b.c__d---e", "docker.io/x/a-b.c__d---e:latest", "x/a-b.c__d---e:latest"},
      {"a:B_c.D-9", "docker.io/library/a:B_c.D-9", "a:B_c.D-9"},
  };
  for (const Form& form : forms) {
    auto reference = Reference::parse(form.typed);
    ASSERT_EQ(reference.has_value(), !form.canonical.empty()) << form.typed;
    if (!reference) continue;
    EXPECT_EQ(reference->str(), form.canonical);
    EXPECT_EQ(reference->familiar(), form.familiar);
    EXPECT_EQ(Reference::parse(reference->familiar())->str(), form.canonical);
  }
}

TEST(Reference, NamesItsParts) {
  Reference reference = *Reference::parse("localhost:5000/team/app:1.2@" + kDigest);
  EXPECT_EQ(reference.registry(), "localhost:5000");
  EXPECT_EQ(reference.repository(), "team/app");
  EXPECT_EQ(reference.tag(), "1.2");
  EXPECT_EQ(reference.digest()->str(), kDigest);
  EXPECT_EQ(reference.name(), "localhost:5000/team/app");
  EXPECT_EQ(reference.object(), kDigest);
  EXPECT_EQ(Reference::parse("redis")->object(), "latest");
}

TEST(Reference, DigestAndTagAreReplacedAlone) {
  Reference redis = *Reference::parse("redis:7");
  EXPECT_EQ(redis.with_digest(*Digest::parse(kDigest)).str(),
            "docker.io/library/redis:7@" + kDigest);
  EXPECT_EQ(redis.with_tag("8").str(), "docker.io/library/redis:8");
}

TEST(Reference, RefusesWhatIsMalformed) {
  for (std::string bad : {std::string(),
                          std::string("Redis"),
                          std::string(":7"),
                          std::string("redis:"),
                          std::string("redis@"),
                          std::string("redis:7:8"),
                          "redis@sha256:" + kHex + "0",
                          "redis@" + kDigest + ":7",
                          std::string("/redis"),
                          std::string("redis/"),
                          std::string("a//b"),
                          std::string("a b"),
                          std::string("redis:-x"),
                          std::string("_a"),
                          std::string("a_"),
                          std::string("a..b/c"),
                          std::string("x/a..b"),
                          std::string("x/a___b"),
                          std::string("x/a_.b"),
                          std::string("-h.io/a"),
                          std::string("h-.io/a"),
                          std::string("h.io:/a"),
                          std::string("h.io:x/a"),
                          std::string("h.io:123456/a"),
                          std::string("[::1/a"),
                          std::string("[]/a"),
                          std::string("[::1]x/a"),
                          std::string("[::g]/a"),
                          std::string("https://h.io/a"),
                          std::string("h.io/"),
                          std::string("docker.io/"),
                          std::string("re\0dis", 6),
                          std::string("rédis"),
                          kHex,
                          "x/" + std::string(256, 'a'),
                          "a:" + std::string(129, 't'),
                          std::string(5000, 'a')}) {
    auto reference = Reference::parse(bad);
    ASSERT_FALSE(reference) << bad << " became " << reference->str();
    EXPECT_EQ(reference.error().code(), Code::kInvalidArgument);
  }
}

TEST(Reference, TakesTheLongestNamesThatAreAllowed) {
  EXPECT_TRUE(Reference::parse("h.io/" + std::string(255, 'a')));
  EXPECT_FALSE(Reference::parse("h.io/" + std::string(256, 'a')));
  EXPECT_TRUE(Reference::parse("a:" + std::string(128, 't')));
}

TEST(Reference, ErrorsNameThePartThatIsWrong) {
  EXPECT_EQ(Reference::parse("Redis:7").error().message(),
            "invalid image reference \"Redis:7\": the repository \"library/Redis\" must be "
            "lower-case");
  EXPECT_NE(Reference::parse("redis:a b").error().message().find("the tag \"a b\""),
            std::string::npos);
  EXPECT_NE(Reference::parse("h_.io/a").error().message().find("the registry \"h_.io\""),
            std::string::npos);
}

}  // namespace
}  // namespace skiff::oci
