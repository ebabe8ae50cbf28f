#include "registry/challenge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace skiff::registry {
namespace {

using ::testing::ElementsAre;

TEST(ChallengeTest, Bearer) {
  auto all = parse_challenges(
      R"(Bearer realm="https://auth.example/token",service="registry",scope="repository:a/b:pull,push")");
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].scheme, "bearer");
  EXPECT_EQ(all[0].param("realm"), "https://auth.example/token");
  EXPECT_EQ(all[0].param("service"), "registry");
  EXPECT_EQ(all[0].param("scope"), "repository:a/b:pull,push");
  EXPECT_EQ(all[0].param("error"), "");
}

TEST(ChallengeTest, SeveralInOneFieldAndInSeveral) {
  auto one = parse_challenges(R"(Basic realm="x y", BEARER Realm = "z" , foo=bar,Negotiate)");
  ASSERT_EQ(one.size(), 3u);
  EXPECT_EQ(one[0].param("realm"), "x y");
  EXPECT_EQ(one[1].scheme, "bearer");
  EXPECT_EQ(one[1].param("foo"), "bar");
  EXPECT_EQ(one[2].scheme, "negotiate");
  http::Headers headers{{"www-authenticate", "Basic realm=a"}, {"WWW-Authenticate", "Bearer"}};
  EXPECT_EQ(parse_challenges(headers).size(), 2u);
}

TEST(ChallengeTest, Escapes) {
  EXPECT_EQ(parse_challenges(R"(Basic realm="a\"b\\c")")[0].param("realm"), R"(a"b\c)");
}

TEST(ChallengeTest, GarbageEnds) {
  for (const char* text : {"", ",,,", "\"", "=", "Bearer realm=\"unterminated", "Bearer =", "a=b",
                           "Bearer realm=\"x\\", "\xff\xfe", "Bearer realm=a b=c d"})
    (void)parse_challenges(std::string_view(text));
  EXPECT_TRUE(parse_challenges(std::string_view("a=b")).empty());
}

TEST(ScopesTest, Merge) {
  Scopes scopes = Scopes::pull("a/b");
  scopes.add("repository:a/b:push repository:c:pull nonsense x:y");
  EXPECT_THAT(scopes.list(), ElementsAre("repository:a/b:pull,push", "repository:c:pull"));
  EXPECT_EQ(scopes.str(), "repository:a/b:pull,push repository:c:pull");
  EXPECT_EQ(Scopes("").str(), "");
  EXPECT_EQ(Scopes::push("x").str(), "repository:x:pull,push");
}

}  // namespace
}  // namespace skiff::registry
