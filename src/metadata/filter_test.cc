#include "metadata/filter.h"

#include <gtest/gtest.h>

#include <map>

namespace skiff::metadata {
namespace {

bool match(const std::vector<std::string>& texts) {
  static const std::map<std::string, std::string> fields{
      {"name", "redis"},       {"size", "10"},         {"labels|a.b/c", "v1"},
      {"labels|empty", ""},    {"labels|tab", "x\ty"}, {"labels|comma", "a,b"},
      {"labels|slash", "a/b"}, {"labels|umlaut", "ä"},
  };
  auto filter = Filter::compile(texts);
  EXPECT_TRUE(filter) << filter.error().message();
  if (!filter) return false;
  return filter->match([](const auto& path) -> std::optional<std::string_view> {
    std::string key(path[0]);
    for (size_t i = 1; i < path.size(); ++i) key.append(i == 1 ? "|" : ".").append(path[i]);
    auto found = fields.find(key);
    if (found == fields.end()) return std::nullopt;
    return found->second;
  });
}

std::string error(const std::string& text) {
  auto filter = Filter::compile({text});
  if (filter) return "compiles";
  EXPECT_EQ(filter.error().code(), Code::kInvalidArgument);
  return filter.error().message();
}

TEST(Filter, ComparesMatchesAndAsksForPresence) {
  EXPECT_TRUE(match({}));
  EXPECT_TRUE(match({"name==redis"}));
  EXPECT_FALSE(match({"name==redi"}));
  EXPECT_FALSE(match({"name!=redis"}));
  EXPECT_TRUE(match({"name!=x"}));
  EXPECT_TRUE(match({"name~=^re"}));
  EXPECT_TRUE(match({"name~=edi"}));
  EXPECT_FALSE(match({"name~=^edi"}));
  EXPECT_TRUE(match({"name"}));
  EXPECT_FALSE(match({"nothing"}));
  EXPECT_TRUE(match({"labels.empty"})) << "present though empty";
  EXPECT_TRUE(match({"labels.empty==\"\""}));
}

TEST(Filter, AbsentFieldsBehaveAsInContainerd) {
  EXPECT_FALSE(match({"nothing==x"}));
  EXPECT_FALSE(match({"nothing==\"\""}));
  EXPECT_TRUE(match({"nothing!=x"}));
  EXPECT_TRUE(match({"nothing~=^$"}));
}

TEST(Filter, CommaIsAndSeveralAreOr) {
  EXPECT_TRUE(match({"name==redis,size==10"}));
  EXPECT_FALSE(match({"name==redis,size==11"}));
  EXPECT_TRUE(match({"name==x", "size==10"}));
  EXPECT_FALSE(match({"name==x", "size==11"}));
  EXPECT_TRUE(match({"name,labels.empty,size~=1"}));
}

TEST(Filter, Quotes) {
  EXPECT_TRUE(match({R"(labels."a.b/c"==v1)"}));
  EXPECT_TRUE(match({R"("labels"."a.b/c"=="v1",name==redis)"}));
  EXPECT_TRUE(match({R"(labels.comma=="a,b")"}));
  EXPECT_TRUE(match({R"(labels.comma==|a,b|)"}));
  EXPECT_TRUE(match({R"(labels.tab=="x\ty")"}));
  EXPECT_TRUE(match({R"(labels.tab=="x\x09y")"}));
  EXPECT_TRUE(match({R"(labels.tab=="x\011y")"}));
  EXPECT_TRUE(match({R"(labels.umlaut=="\u00e4")"}));
  EXPECT_TRUE(match({R"(labels.slash==/a\/b/)"}));
  EXPECT_TRUE(match({R"(size~=/^\d+$/)"}));
  EXPECT_TRUE(match({R"(size~=|^\d{2}$|)"}));
}

TEST(Filter, ErrorsShowThePlace) {
  EXPECT_EQ(error("name=="),
            "filter \"name==\": at character 7: expected a value; write \"\" for an empty one");
  EXPECT_EQ(error(""),
            "filter \"\": at character 1: expected the name of a field; put one with other "
            "characters in quotes");
  EXPECT_NE(error("name==a,").find("at character 9"), std::string::npos);
  EXPECT_NE(error("name=a").find("at character 5"), std::string::npos);
  EXPECT_NE(error("name==a b").find("at character 8"), std::string::npos);
  EXPECT_NE(error("labels.\"a").find("at character 8: the quote"), std::string::npos);
  EXPECT_NE(error("labels.a-b").find("at character 9"), std::string::npos);
  EXPECT_NE(error(R"(a=="\q")").find("at character 5: unknown escape"), std::string::npos);
  EXPECT_NE(error(R"(a=="\u12")").find("expected 4 digits"), std::string::npos);
  EXPECT_NE(error(R"(a=="\ud800")").find("expected 4 digits"), std::string::npos);
  EXPECT_NE(error("a==\"\\").find("nothing follows"), std::string::npos);
  EXPECT_NE(error("name~=(").find("at character 7: regular expression"), std::string::npos);
  EXPECT_NE(error("name~=(a{1000}){1000}").find("regular expression"), std::string::npos);
  EXPECT_NE(error(std::string(70000, 'a')).find("more than"), std::string::npos);
}

TEST(Filter, OneFilterMayServeManyThreadsAndCopies) {
  auto filter = Filter::compile({"name~=^r"});
  ASSERT_TRUE(filter);
  Filter copy = *filter;
  EXPECT_TRUE(copy.match([](const auto&) { return std::optional<std::string_view>("r"); }));
  EXPECT_TRUE(Filter().match([](const auto&) { return std::nullopt; })) << "empty: matches all";
}

}  // namespace
}  // namespace skiff::metadata
