#include "ttrpc/message.h"

#include <cstdio>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sys/file.h"
#include "ttrpc/frame.h"
#include "ttrpc/well_known.h"

namespace skiff::ttrpc {
namespace {

enum class Color : int32_t { kNone = 0, kRed = 1, kNegative = -2 };

struct Leaf {
  std::string name;
  int32_t count = 0;
  template <class V>
  void fields(V& v) {
    v(1, name);
    v(2, count);
  }
};

struct Everything {
  std::string text, bytes;
  bool flag = false;
  int32_t i32 = 0;
  int64_t i64 = 0;
  uint32_t u32 = 0;
  uint64_t u64 = 0;
  double real = 0;
  Leaf leaf;
  std::optional<Leaf> maybe;
  std::vector<Leaf> leaves;
  std::vector<std::string> words;
  std::vector<int32_t> numbers;
  std::vector<double> reals;
  std::map<std::string, std::string> labels;
  std::map<std::string, Leaf> tree;
  Color color = Color::kNone;
  template <class V>
  void fields(V& v) {
    v(1, text);
    v(2, bytes);
    v(3, flag);
    v(4, i32);
    v(5, i64);
    v(6, u32);
    v(7, u64);
    v(8, real);
    v(9, leaf);
    v(10, maybe);
    v(11, leaves);
    v(12, words);
    v(13, numbers);
    v(14, reals);
    v(15, labels);
    v(16, tree);
    v(17, color);
  }
};

constexpr char kProto[] = R"(syntax = "proto3";
package test;
enum Color { NONE = 0; RED = 1; NEGATIVE = -2; }
message Leaf { string name = 1; int32 count = 2; }
message Everything {
  string text = 1; bytes bytes = 2; bool flag = 3; int32 i32 = 4; int64 i64 = 5; uint32 u32 = 6;
  uint64 u64 = 7; double real = 8; Leaf leaf = 9; Leaf maybe = 10; repeated Leaf leaves = 11;
  repeated string words = 12; repeated int32 numbers = 13; repeated double reals = 14;
  map<string, string> labels = 15; map<string, Leaf> tree = 16; Color color = 17;
})";

constexpr char kText[] = R"(
text: "hello" bytes: "\000\377" flag: true i32: -5 i64: -6000000000 u32: 4294967295
u64: 18446744073709551615 real: -0.5 leaf { name: "l" count: -1 } maybe { }
leaves { name: "a" } leaves { } words: "" words: "x" numbers: 1 numbers: -1 numbers: 300
reals: 1.5 reals: 0 labels { key: "k" value: "" } tree { key: "t" value { count: 7 } }
color: NEGATIVE)";

Everything filled() {
  Everything m;
  m.text = "hello";
  m.bytes = std::string("\0\377", 2);
  m.flag = true;
  m.i32 = -5;
  m.i64 = -6000000000;
  m.u32 = 4294967295u;
  m.u64 = UINT64_MAX;
  m.real = -0.5;
  m.leaf = {"l", -1};
  m.maybe.emplace();
  m.leaves = {{"a", 0}, {}};
  m.words = {"", "x"};
  m.numbers = {1, -1, 300};
  m.reals = {1.5, 0};
  m.labels = {{"k", ""}};
  m.tree = {{"t", {"", 7}}};
  m.color = Color::kNegative;
  return m;
}

// What protoc makes of the same text is the oracle.
std::string protoc_encoded() {
  sys::TempDir dir;
  std::string at = dir.path().string();
  std::ofstream(at + "/test.proto") << kProto;
  std::ofstream(at + "/text") << kText;
  std::string command = "protoc -I" + at + " --encode=test.Everything " + at + "/test.proto <" +
                        at + "/text >" + at + "/out";
  EXPECT_EQ(std::system(command.c_str()), 0);
  std::ifstream out(at + "/out", std::ios::binary);
  return {std::istreambuf_iterator<char>(out), {}};
}

TEST(Message, EncodesTheSameBytesAsProtoc) { EXPECT_EQ(encode(filled()), protoc_encoded()); }

TEST(Message, DecodesWhatProtocEncoded) {
  auto message = decode<Everything>(protoc_encoded());
  ASSERT_TRUE(message) << message.error().message();
  EXPECT_EQ(message->i64, -6000000000);
  EXPECT_EQ(message->leaf.count, -1);
  EXPECT_TRUE(message->maybe);
  EXPECT_THAT(message->numbers, testing::ElementsAre(1, -1, 300));
  EXPECT_EQ(message->tree.at("t").count, 7);
  EXPECT_EQ(message->color, Color::kNegative);
  EXPECT_EQ(encode(*message), encode(filled()));
}

TEST(Message, DefaultsTakeNoBytes) { EXPECT_EQ(encode(Everything{}), ""); }

TEST(Message, SkipsUnknownFieldsOfEveryWireType) {
  std::string wire = encode(Leaf{"x", 3});
  wire += std::string("\x98\x06\x01", 3);                    // 99: varint
  wire += std::string("\x99\x06", 2) + std::string(8, 'f');  // 99: fixed64
  wire += std::string("\x9a\x06\x02zz", 5);                  // 99: bytes
  wire += std::string("\x9b\x06\x08\x01\x9c\x06", 6);        // 99: a group holding field 1
  wire += std::string("\x9d\x06", 2) + std::string(4, 'f');  // 99: fixed32
  auto leaf = decode<Leaf>(wire);
  ASSERT_TRUE(leaf) << leaf.error().message();
  EXPECT_EQ(leaf->name, "x");
  EXPECT_EQ(leaf->count, 3);
}

TEST(Message, TakesUnpackedNumbersAndTheLastScalar) {
  auto message = decode<Everything>(std::string("\x68\x01\x68\x02\x20\x05\x20\x06", 8));
  ASSERT_TRUE(message);
  EXPECT_THAT(message->numbers, testing::ElementsAre(1, 2));
  EXPECT_EQ(message->i32, 6);
}

TEST(Message, RefusesMalformedInput) {
  const std::pair<const char*, std::string> cases[] = {
      {"truncated tag", "\x80"},
      {"field number 0", std::string("\0", 1)},
      {"truncated varint", "\x20\xff"},
      {"varint too long", "\x20" + std::string(10, '\xff')},
      {"length beyond the end",
       "\x0a\x05"
       "abc"},
      {"huge length", "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"},
      {"truncated fixed64",
       "\x41"
       "abc"},
      {"string field as varint", std::string("\x08\x01", 2)},
      {"number field as bytes", std::string("\x22\x00", 2)},
      {"group end alone", "\x0c"},
      {"group not closed", "\x9b\x06"},
      {"group closed by another number", "\x9b\x06\x0c"},
      {"reserved wire type", "\x0e"},
      {"bad nested message", "\x4a\x02\x0a\x09"},
      {"bad packed numbers", "\x6a\x01\xff"},
  };
  for (const auto& [what, wire] : cases) {
    auto message = decode<Everything>(wire);
    ASSERT_FALSE(message) << what;
    EXPECT_EQ(message.error().code(), Code::kInvalidArgument) << what;
  }
}

struct Nested {
  std::vector<Nested> inner;
  template <class V>
  void fields(V& v) {
    v(1, inner);
  }
};

TEST(Message, NestingIsBounded) {
  auto wrapped = [](int levels) {
    std::string wire;
    for (int i = 0; i < levels; ++i) {
      std::string outer;
      wire::put_bytes(outer, 1, wire);
      wire = outer;
    }
    return wire;
  };
  EXPECT_TRUE(decode<Nested>(wrapped(wire::kMaxDepth)));
  EXPECT_FALSE(decode<Nested>(wrapped(wire::kMaxDepth + 1)));
  EXPECT_FALSE(decode<Nested>(std::string(100000, '\x0b')));  // nested groups
}

TEST(Message, EveryPrefixOfAMessageIsHandled) {
  std::string wire = encode(filled());
  for (size_t size = 0; size < wire.size(); ++size)
    static_cast<void>(decode<Everything>(wire.substr(0, size)));  // must not crash or read beyond
}

TEST(WellKnown, TimestampsCountForward) {
  Timestamp before = to_timestamp(SystemTime(std::chrono::nanoseconds(-1)));
  EXPECT_EQ(before.seconds, -1);
  EXPECT_EQ(before.nanos, 999'999'999);
  EXPECT_EQ(from_timestamp(before), SystemTime(std::chrono::nanoseconds(-1)));
}

TEST(Frame, HeaderIsBigEndian) {
  std::string bytes;
  put_header(bytes, {0x01020304, 7, FrameType::kData, kRemoteClosed | kNoData});
  EXPECT_EQ(bytes, std::string("\x01\x02\x03\x04\0\0\0\x07\x03\x05", 10));
  FrameHeader header = parse_header(bytes.data());
  EXPECT_EQ(header.length, 0x01020304u);
  EXPECT_EQ(header.stream, 7u);
  EXPECT_EQ(header.type, FrameType::kData);
}

TEST(Frame, StatusKeepsCodeAndMessage) {
  Status back = from_status(to_status(Error(Code::kNotFound, "no such task")));
  EXPECT_EQ(back.error().code(), Code::kNotFound);
  EXPECT_EQ(back.error().message(), "no such task");
  EXPECT_EQ(from_status({99, "odd", {}}).error().code(), Code::kUnknown);
  EXPECT_TRUE(from_status({}));
}

}  // namespace
}  // namespace skiff::ttrpc
