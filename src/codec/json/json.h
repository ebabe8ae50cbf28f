// JSON as values: a small DOM, a bounded parser and a writer.
//
// Made for documents of the OCI world (manifests, configurations, runtime specs): at most a few
// megabytes, from untrusted hands. Objects keep the order in which members came; of duplicate keys
// the last wins, as for Go's encoding/json, which wrote most of these documents.
// Links into static programs; depends on base only. Values are thread-safe to read.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.h"

namespace skiff::json {

class Value;
struct Member;
using Array = std::vector<Value>;
using Object = std::vector<Member>;

enum class Type { kNull, kBool, kInt, kUint, kDouble, kString, kArray, kObject };

// "null", "a number", "a string", ... as error messages say it.
std::string_view type_name(Type type);

class Value {
 public:
  // Defined below Member: a compiler may want it whole for these.
  Value();
  Value(std::nullptr_t);
  Value(bool value);
  Value(int value);
  Value(unsigned value);
  Value(int64_t value);
  Value(uint64_t value);  // kInt where it fits
  Value(double value);
  Value(const char* value);
  Value(std::string_view value);
  Value(std::string value);
  Value(Array value);
  Value(Object value);
  template <typename T>
  Value(const T*) = delete;  // a pointer is not a truth value

  static Value array();
  static Value array(const std::vector<std::string>& strings);
  static Value object();
  static Value object(std::initializer_list<std::pair<std::string_view, Value>> members);

  Type type() const { return static_cast<Type>(data_.index()); }
  bool is_null() const { return type() == Type::kNull; }
  bool is_string() const { return type() == Type::kString; }
  bool is_array() const { return type() == Type::kArray; }
  bool is_object() const { return type() == Type::kObject; }

  // This value as the type asked for; InvalidArgument says what it is instead. as_int takes any
  // whole number in range; as_double any number. What they return lives as long as this value.
  Result<bool> as_bool() const;
  Result<int64_t> as_int() const;
  Result<uint64_t> as_uint() const;
  Result<double> as_double() const;
  Result<std::string_view> as_string() const;
  Result<const Array*> as_array() const;
  Result<const Object*> as_object() const;
  // An array of strings; null counts as empty, as Go writes empty slices.
  Result<std::vector<std::string>> as_strings() const;

  // The member of that name, or null (also when this is no object, or the member is JSON's null).
  const Value* find(std::string_view key) const;
  // Down a path of members: find({"config", "Labels"}).
  const Value* find(std::initializer_list<std::string_view> path) const;

  // Members that must be there: NotFound, or InvalidArgument where the type is wrong; both name the
  // key. Deeper, wrap with the outer key, so the error shows the path: `config: "Env": expected
  // ...`.
  Result<bool> get_bool(std::string_view key) const;
  Result<int64_t> get_int(std::string_view key) const;
  Result<uint64_t> get_uint(std::string_view key) const;
  Result<std::string> get_string(std::string_view key) const;
  Result<const Array*> get_array(std::string_view key) const;
  Result<const Object*> get_object(std::string_view key) const;
  // Members that may be absent or null; a wrong type is an error all the same.
  Result<bool> get_bool(std::string_view key, bool otherwise) const;
  Result<int64_t> get_int(std::string_view key, int64_t otherwise) const;
  Result<std::string> get_string(std::string_view key, std::string_view otherwise) const;
  // An absent or null list is empty.
  Result<std::vector<std::string>> get_strings(std::string_view key) const;

  // Building. `set` makes a null value an object first, replaces a member of that name and returns
  // the new value; `push_back` makes a null value an array. On any other type they are a bug.
  Value& set(std::string_view key, Value value);
  Value& push_back(Value value);
  // Takes the member of that name out, if there.
  void erase(std::string_view key);
  // For changing in place; null when this is not an array, or not an object.
  Array* mutable_array() { return std::get_if<Array>(&data_); }
  Object* mutable_object() { return std::get_if<Object>(&data_); }
  Value* find_mutable(std::string_view key);

  // Equal as documents: the order of members does not count.
  friend bool operator==(const Value& a, const Value& b);

 private:
  friend void append(std::string& out, const Value& value, int indent, int depth);
  std::variant<std::monostate, bool, int64_t, uint64_t, double, std::string, Array, Object> data_;
};

struct Member {
  std::string key;
  Value value;
  friend bool operator==(const Member& a, const Member& b) = default;
};

inline Value::Value() = default;
inline Value::Value(std::nullptr_t) {}
inline Value::Value(bool value) : data_(value) {}
inline Value::Value(int value) : data_(int64_t{value}) {}
inline Value::Value(unsigned value) : data_(int64_t{value}) {}
inline Value::Value(int64_t value) : data_(value) {}
inline Value::Value(double value) : data_(value) {}
inline Value::Value(const char* value) : data_(std::string(value)) {}
inline Value::Value(std::string_view value) : data_(std::string(value)) {}
inline Value::Value(std::string value) : data_(std::move(value)) {}
inline Value Value::array() { return Value(Array()); }

struct Limits {
  size_t bytes = 8 << 20;
  size_t depth = 128;      // nested arrays and objects
  size_t values = 500000;  // all of them together: bounds the memory a small text can ask for
};

// InvalidArgument says what is wrong and at which byte; ResourceExhausted which limit was hit.
// Strict JSON in valid UTF-8; a byte order mark is skipped.
Result<Value> parse(std::string_view text, const Limits& limits = {});

// Compact, or with `indent` spaces a level. Bytes that are not UTF-8 become U+FFFD, as in Go.
std::string dump(const Value& value, int indent = 0);

}  // namespace skiff::json
