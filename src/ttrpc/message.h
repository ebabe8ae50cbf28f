// A codec for protobuf's wire format without protobuf. A message is a plain struct with one visitor
// that names each field's number; it gives encoding and decoding both:
//
//   struct StateRequest {
//     std::string id;
//     std::map<std::string, std::string> labels;
//     template <class V> void fields(V& v) { v(1, id); v(2, labels); }
//   };
//   std::string wire = ttrpc::encode(request);
//   Result<StateRequest> back = ttrpc::decode<StateRequest>(wire);
//
// Field types: std::string (string and bytes), bool, int32_t, int64_t, uint32_t, uint64_t, enums
// (as int32), double, another message, std::optional<message>, std::vector of any of these,
// std::map<std::string, string, number or message>. Bytes on the wire equal those that protoc's
// generated code writes for the same fields in ascending order: defaults are left out (a message
// held by value counts as unset when all its fields are), repeated numbers are packed.
//
// Decoding takes untrusted input: lengths are checked against what is left, nesting ends at 64,
// unknown fields and groups are skipped, a known field with a foreign wire type is an error, packed
// and unpacked numbers are both understood, the last of several scalars wins, messages merge.
// Fact source: protobuf's public encoding guide.
#pragma once

#include <bit>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/error.h"

namespace skiff::ttrpc {
namespace wire {

inline constexpr int kMaxDepth = 64;
enum Type : uint32_t {
  kVarint = 0,
  kFixed64 = 1,
  kBytes = 2,
  kGroup = 3,
  kEndGroup = 4,
  kFixed32 = 5
};

void put_varint(std::string& out, uint64_t value);
void put_tag(std::string& out, uint32_t number, Type type);
void put_fixed64(std::string& out, uint64_t value);
void put_bytes(std::string& out, uint32_t number, std::string_view bytes);

// A cursor over wire bytes. After the first failure ok() is false and everything yields zero.
class Reader {
 public:
  Reader(std::string_view bytes, int depth) : rest_(bytes), depth_(depth) {}
  // The next field's tag; false at the end or on an error.
  bool next();
  uint32_t number() const { return number_; }
  Type type() const { return type_; }
  uint64_t varint();
  uint64_t fixed64();
  std::string_view bytes();  // length-delimited
  void skip();               // the current field, whatever it is
  // Fails unless the field has this type.
  bool expect(Type type);
  Reader nested(std::string_view bytes);
  void merge(const Reader& nested) {
    if (nested.failure_) fail(nested.failure_);
  }
  bool ok() const { return failure_ == nullptr; }
  bool at_end() const { return rest_.empty(); }
  const char* failure() const { return failure_; }

 private:
  void fail(const char* why) {
    if (!failure_) failure_ = why;
    rest_ = {};
  }
  void skip_group(uint32_t number, int depth);

  std::string_view rest_;
  const char* failure_ = nullptr;
  uint32_t number_ = 0;
  Type type_ = kVarint;
  int depth_;
};

template <class T>
struct IsVector : std::false_type {};
template <class T>
struct IsVector<std::vector<T>> : std::true_type {};
template <class T>
struct IsMap : std::false_type {};
template <class T>
struct IsMap<std::map<std::string, T>> : std::true_type {};
template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};
template <class T>
concept Integer = std::is_integral_v<T> || std::is_enum_v<T>;
template <class T>
concept Number = Integer<T> || std::is_same_v<T, double>;

// Enums and int32 are sign-extended to 64 bits, as protobuf does.
template <Integer T>
uint64_t to_wire(T value) {
  if constexpr (std::is_enum_v<T>) {
    return static_cast<uint64_t>(static_cast<int64_t>(static_cast<int32_t>(value)));
  } else if constexpr (std::is_signed_v<T>) {
    return static_cast<uint64_t>(static_cast<int64_t>(value));
  } else {
    return value;
  }
}
template <Integer T>
T from_wire(uint64_t value) {
  if constexpr (std::is_same_v<T, bool>) {
    return value != 0;
  } else if constexpr (std::is_enum_v<T>) {
    return static_cast<T>(static_cast<int32_t>(value));
  } else {
    return static_cast<T>(value);
  }
}

class Encoder {
 public:
  explicit Encoder(std::string& out) : out_(out) {}

  template <class T>
  void operator()(uint32_t number, const T& value) {
    field(number, value, false);
  }

 private:
  // `always`: write it even when it is the default (elements, map entries).
  template <class T>
  void field(uint32_t number, const T& value, bool always) {
    if constexpr (std::is_same_v<T, std::string>) {
      if (always || !value.empty()) put_bytes(out_, number, value);
    } else if constexpr (Integer<T>) {
      if (!always && value == T{}) return;
      put_tag(out_, number, kVarint);
      put_varint(out_, to_wire(value));
    } else if constexpr (std::is_same_v<T, double>) {
      if (!always && std::bit_cast<uint64_t>(value) == 0) return;
      put_tag(out_, number, kFixed64);
      put_fixed64(out_, std::bit_cast<uint64_t>(value));
    } else if constexpr (IsOptional<T>::value) {
      if (value) field(number, *value, true);
    } else if constexpr (IsVector<T>::value) {
      repeated(number, value);
    } else if constexpr (IsMap<T>::value) {
      for (const auto& [key, entry] : value) {
        std::string body;
        Encoder inner(body);
        inner.field(1, key, true);
        inner.field(2, entry, true);
        put_bytes(out_, number, body);
      }
    } else {
      std::string body;
      Encoder inner(body);
      const_cast<T&>(value).fields(inner);  // the encoder takes every field by const reference
      if (always || !body.empty()) put_bytes(out_, number, body);
    }
  }

  template <class T>
  void repeated(uint32_t number, const std::vector<T>& values) {
    if constexpr (Number<T>) {
      if (values.empty()) return;
      std::string body;
      for (T value : values) {
        if constexpr (Integer<T>) {
          put_varint(body, to_wire(value));
        } else {
          put_fixed64(body, std::bit_cast<uint64_t>(value));
        }
      }
      put_bytes(out_, number, body);
    } else {
      for (const T& value : values) field(number, value, true);
    }
  }

  std::string& out_;
};

template <class M>
void decode_fields(Reader& reader, M& message);

// Takes the reader's current field into the member that has its number.
class Decoder {
 public:
  explicit Decoder(Reader& reader) : reader_(reader) {}

  template <class T>
  void operator()(uint32_t number, T& value) {
    if (taken_ || number != reader_.number()) return;
    taken_ = true;
    field(value);
  }
  bool taken() const { return taken_; }

 private:
  template <class T>
  void field(T& value) {
    if constexpr (std::is_same_v<T, std::string>) {
      if (reader_.expect(kBytes)) value = reader_.bytes();
    } else if constexpr (Number<T>) {
      if (reader_.expect(std::is_same_v<T, double> ? kFixed64 : kVarint))
        value = number_of<T>(reader_);
    } else if constexpr (IsOptional<T>::value) {
      if (!value) value.emplace();
      field(*value);
    } else if constexpr (IsVector<T>::value) {
      repeated(value);
    } else if constexpr (IsMap<T>::value) {
      entry(value);
    } else {
      if (!reader_.expect(kBytes)) return;
      Reader inner = reader_.nested(reader_.bytes());
      decode_fields(inner, value);
      reader_.merge(inner);
    }
  }

  template <class T>
  void repeated(std::vector<T>& values) {
    if constexpr (Number<T>) {
      if (reader_.type() == kBytes) {
        Reader packed(reader_.bytes(), 0);
        while (packed.ok() && !packed.at_end()) values.push_back(number_of<T>(packed));
        reader_.merge(packed);
        return;
      }
    }
    T value{};
    field(value);
    if (reader_.ok()) values.push_back(std::move(value));
  }

  template <class T>
  void entry(std::map<std::string, T>& map) {
    struct Entry {
      std::string key;
      T value{};
      void fields(Decoder& v) {
        v(1, key);
        v(2, value);
      }
    } pair;
    field(pair);
    if (reader_.ok()) map[std::move(pair.key)] = std::move(pair.value);
  }

  template <Number T>
  static T number_of(Reader& reader) {
    if constexpr (std::is_same_v<T, double>) {
      return std::bit_cast<double>(reader.fixed64());
    } else {
      return from_wire<T>(reader.varint());
    }
  }

  Reader& reader_;
  bool taken_ = false;
};

template <class M>
void decode_fields(Reader& reader, M& message) {
  while (reader.next()) {
    Decoder decoder(reader);
    message.fields(decoder);
    if (!decoder.taken()) reader.skip();
  }
}

}  // namespace wire

template <class M>
std::string encode(const M& message) {
  std::string out;
  wire::Encoder encoder(out);
  const_cast<M&>(message).fields(encoder);  // the encoder takes every field by const reference
  return out;
}

// InvalidArgument says what is malformed.
template <class M>
Result<M> decode(std::string_view bytes) {
  M message{};
  wire::Reader reader(bytes, wire::kMaxDepth);
  wire::decode_fields(reader, message);
  if (!reader.ok()) return fail(Code::kInvalidArgument, "malformed message: {}", reader.failure());
  return message;
}

}  // namespace skiff::ttrpc
