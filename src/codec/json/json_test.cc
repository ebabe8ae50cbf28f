#include "codec/json/json.h"

#include <gtest/gtest.h>

namespace skiff::json {
namespace {

TEST(Json, ReadsAndWritesEveryType) {
  std::string text =
      R"({"n":null,"t":true,"i":-7,"u":18446744073709551615,"d":0.5,"s":"a\"b\\\n\u00e9","a":[1,[],{}]})";
  auto value = parse(text);
  ASSERT_TRUE(value) << value.error().message();
  EXPECT_EQ(value->get_int("i").value(), -7);
  EXPECT_EQ(value->get_uint("u").value(), 18446744073709551615u);
  EXPECT_EQ(value->get_string("s").value(), "a\"b\\\n\xc3\xa9");
  EXPECT_EQ(value->find("d")->as_double().value(), 0.5);
  EXPECT_EQ(value->find("n"), nullptr);
  EXPECT_EQ(dump(*value),
            "{\"n\":null,\"t\":true,\"i\":-7,\"u\":18446744073709551615,\"d\":0.5,"
            "\"s\":\"a\\\"b\\\\\\n\xc3\xa9\",\"a\":[1,[],{}]}");
  EXPECT_EQ(parse(dump(*value)).value(), *value);
  EXPECT_EQ(parse(dump(*value, 2)).value(), *value);
}

TEST(Json, IndentsForPeople) {
  EXPECT_EQ(dump(Value::object({{"a", Value(Array{1, 2})}, {"b", Value::object()}}), 2),
            "{\n  \"a\": [\n    1,\n    2\n  ],\n  \"b\": {}\n}");
}

TEST(Json, OfDuplicateKeysTheLastWins) {
  auto value = parse(R"({"a":1,"b":2,"a":3})").value();
  EXPECT_EQ(dump(value), R"({"b":2,"a":3})");
}

TEST(Json, ErrorsNameKeyAndType) {
  auto value = parse(R"({"config":{"Env":"x","User":7}})").value();
  const Value& config = *value.find("config");
  EXPECT_EQ(config.get_strings("Env").error().message(),
            "\"Env\": expected an array, not a string");
  EXPECT_EQ(config.get_string("User").error().message(),
            "\"User\": expected a string, not a whole number");
  EXPECT_EQ(config.get_string("Cmd").error().code(), Code::kNotFound);
  EXPECT_EQ(config.get_string("Cmd", "sh").value(), "sh");
  EXPECT_FALSE(config.get_string("User", "root"));
  EXPECT_EQ(Value(1).get_string("a", "b").error().message(),
            "expected an object, not a whole number");
}

TEST(Json, RefusesWhatIsNotJson) {
  for (std::string_view bad : {"", "{", "[1,]", "{\"a\":1,}", "01", "nul", "\"\x01\"", "\"\xff\"",
                               "[1] x", "{'a':1}", "NaN"})
    EXPECT_EQ(parse(bad).error().code(), Code::kInvalidArgument) << bad;
  EXPECT_EQ(parse(std::string_view("{}\0{}", 5)).error().message(), "JSON at byte 2: a NUL byte");
  EXPECT_EQ(parse("[1 2]").error().message().substr(0, 14), "JSON at byte 3");
  EXPECT_TRUE(parse("\xef\xbb\xbf{}"));
}

TEST(Json, BoundsDepthSizeAndCount) {
  std::string deep = std::string(200000, '[');
  EXPECT_EQ(parse(deep).error().code(), Code::kResourceExhausted);
  EXPECT_TRUE(parse(std::string(128, '[') + std::string(128, ']')));
  EXPECT_FALSE(parse(std::string(129, '[') + std::string(129, ']')));
  EXPECT_EQ(parse("[1,2,3]", {.bytes = 6}).error().code(), Code::kResourceExhausted);
  EXPECT_EQ(parse("[1,2,3]", {.values = 3}).error().message(), "JSON at byte 5: too many values");
}

TEST(Json, AHundredThousandMembersAreReadInLinearTime) {
  std::string text = "{";
  for (int i = 0; i < 100000; ++i) text += fmt::format("\"k{}\":0,", i);
  text.back() = '}';
  EXPECT_EQ((*parse(text)->as_object())->size(), 100000u);
}

TEST(Json, BuildsAndChanges) {
  Value spec;
  spec.set("args", Value::array({"sh", "-c"})).push_back("true");
  spec.set("big", uint64_t{1} << 63);
  spec.set("args2", nullptr);
  spec.erase("args2");
  EXPECT_EQ(dump(spec), R"({"args":["sh","-c","true"],"big":9223372036854775808})");
  spec.find_mutable("args")->mutable_array()->clear();
  EXPECT_EQ(dump(spec), R"({"args":[],"big":9223372036854775808})");
}

TEST(Json, WritesBytesThatAreNotUtf8AsReplacement) {
  EXPECT_EQ(dump(Value("a\xffz\xe2\x82")), "\"a\xef\xbf\xbdz\xef\xbf\xbd\xef\xbf\xbd\"");
}

TEST(Json, WholeNumbersMayBeSpelledAsDoubles) {
  EXPECT_EQ(parse("1e3")->as_int().value(), 1000);
  EXPECT_FALSE(parse("1.5")->as_int());
  EXPECT_FALSE(parse("-1")->as_uint());
  EXPECT_FALSE(parse("18446744073709551615")->as_int());
}

TEST(Json, ReadsNumbersToTheirBounds) {
  EXPECT_EQ(dump(*parse("[-9223372036854775808,18446744073709551615,-0,1e-400,0.1]")),
            "[-9223372036854775808,18446744073709551615,0,0,0.1]");
  EXPECT_TRUE(parse("1.7976931348623157e308"));
  EXPECT_TRUE(
      parse("18446744073709551615954263979"));  // more digits than RapidJSON's own arithmetic bears
  for (const char* bad :
       {"1.9e308", "-1e309", "1e99999", "01", "+1", "1.", ".5", "0x1", "1e", "nan"})
    EXPECT_FALSE(parse(bad)) << bad;
}

}  // namespace
}  // namespace skiff::json
