#include "codec/json/json.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"

namespace skiff::json {

std::string_view type_name(Type type) {
  switch (type) {
    case Type::kNull: return "null";
    case Type::kBool: return "true or false";
    case Type::kInt:
    case Type::kUint: return "a whole number";
    case Type::kDouble: return "a number";
    case Type::kString: return "a string";
    case Type::kArray: return "an array";
    case Type::kObject: return "an object";
  }
  return "a value";
}

namespace {

std::unexpected<Error> unexpected_type(Type wanted, Type found) {
  return fail(Code::kInvalidArgument, "expected {}, not {}", type_name(wanted), type_name(found));
}

}  // namespace

Value::Value(uint64_t value) {
  if (value <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
    data_ = static_cast<int64_t>(value);
  else
    data_ = value;
}
Value::Value(Array value) : data_(std::move(value)) {}
Value::Value(Object value) : data_(std::move(value)) {}

Value Value::array(const std::vector<std::string>& strings) {
  return Value(Array(strings.begin(), strings.end()));
}

Value Value::object() { return Value(Object()); }

Value Value::object(std::initializer_list<std::pair<std::string_view, Value>> members) {
  Value value = object();
  for (const auto& [key, member] : members) value.set(key, member);
  return value;
}

Result<bool> Value::as_bool() const {
  if (auto* value = std::get_if<bool>(&data_)) return *value;
  return unexpected_type(Type::kBool, type());
}

Result<int64_t> Value::as_int() const {
  if (auto* value = std::get_if<int64_t>(&data_)) return *value;
  if (auto* value = std::get_if<uint64_t>(&data_))
    return fail(Code::kInvalidArgument, "{} is out of range", *value);
  // Some writers spell whole numbers with an exponent or ".0".
  if (auto* value = std::get_if<double>(&data_);
      value != nullptr && std::nearbyint(*value) == *value && std::fabs(*value) < 0x1p53)
    return static_cast<int64_t>(*value);
  return unexpected_type(Type::kInt, type());
}

Result<uint64_t> Value::as_uint() const {
  if (auto* value = std::get_if<uint64_t>(&data_)) return *value;
  int64_t value = SKIFF_TRY(as_int());
  if (value < 0) return fail(Code::kInvalidArgument, "{} is negative", value);
  return static_cast<uint64_t>(value);
}

Result<double> Value::as_double() const {
  if (auto* value = std::get_if<double>(&data_)) return *value;
  if (auto* value = std::get_if<int64_t>(&data_)) return static_cast<double>(*value);
  if (auto* value = std::get_if<uint64_t>(&data_)) return static_cast<double>(*value);
  return unexpected_type(Type::kDouble, type());
}

Result<std::string_view> Value::as_string() const {
  if (auto* value = std::get_if<std::string>(&data_)) return std::string_view(*value);
  return unexpected_type(Type::kString, type());
}

Result<const Array*> Value::as_array() const {
  if (auto* value = std::get_if<Array>(&data_)) return value;
  return unexpected_type(Type::kArray, type());
}

Result<const Object*> Value::as_object() const {
  if (auto* value = std::get_if<Object>(&data_)) return value;
  return unexpected_type(Type::kObject, type());
}

Result<std::vector<std::string>> Value::as_strings() const {
  std::vector<std::string> strings;
  if (is_null()) return strings;
  const Array& array = *SKIFF_TRY(as_array());
  strings.reserve(array.size());
  for (size_t i = 0; i < array.size(); ++i)
    strings.emplace_back(SKIFF_TRY_WRAP(array[i].as_string(), "[{}]", i));
  return strings;
}

const Value* Value::find(std::string_view key) const {
  auto* object = std::get_if<Object>(&data_);
  if (object == nullptr) return nullptr;
  auto it = std::ranges::find(*object, key, &Member::key);
  return it == object->end() || it->value.is_null() ? nullptr : &it->value;
}

const Value* Value::find(std::initializer_list<std::string_view> path) const {
  const Value* value = this;
  for (std::string_view key : path)
    if (value = value->find(key); value == nullptr) return nullptr;
  return value;
}

namespace {

Result<const Value*> required(const Value& object, std::string_view key) {
  if (!object.is_object()) return unexpected_type(Type::kObject, object.type());
  if (const Value* value = object.find(key)) return value;
  return fail(Code::kNotFound, "\"{}\" is missing", key);
}

// The member as `as` reads it; an error names the key.
template <typename As>
auto read(const Value& object, std::string_view key, As as) -> decltype((object.*as)()) {
  const Value* value = SKIFF_TRY(required(object, key));
  auto result = (value->*as)();
  if (!result) return std::unexpected(result.error().wrap(fmt::format("\"{}\"", key)));
  return result;
}

}  // namespace

Result<bool> Value::get_bool(std::string_view key) const {
  return read(*this, key, &Value::as_bool);
}
Result<int64_t> Value::get_int(std::string_view key) const {
  return read(*this, key, &Value::as_int);
}
Result<uint64_t> Value::get_uint(std::string_view key) const {
  return read(*this, key, &Value::as_uint);
}
Result<std::string> Value::get_string(std::string_view key) const {
  return std::string(SKIFF_TRY(read(*this, key, &Value::as_string)));
}
Result<const Array*> Value::get_array(std::string_view key) const {
  return read(*this, key, &Value::as_array);
}
Result<const Object*> Value::get_object(std::string_view key) const {
  return read(*this, key, &Value::as_object);
}
Result<bool> Value::get_bool(std::string_view key, bool otherwise) const {
  if (is_object() && find(key) == nullptr) return otherwise;
  return get_bool(key);
}
Result<int64_t> Value::get_int(std::string_view key, int64_t otherwise) const {
  if (is_object() && find(key) == nullptr) return otherwise;
  return get_int(key);
}
Result<std::string> Value::get_string(std::string_view key, std::string_view otherwise) const {
  if (is_object() && find(key) == nullptr) return std::string(otherwise);
  return get_string(key);
}
Result<std::vector<std::string>> Value::get_strings(std::string_view key) const {
  if (is_object() && find(key) == nullptr) return std::vector<std::string>();
  return read(*this, key, &Value::as_strings);
}

Value* Value::find_mutable(std::string_view key) {
  return const_cast<Value*>(std::as_const(*this).find(key));
}

Value& Value::set(std::string_view key, Value value) {
  if (is_null()) data_ = Object();
  auto* object = std::get_if<Object>(&data_);
  SKIFF_CHECK(object != nullptr, "members are set on an object");
  auto it = std::ranges::find(*object, key, &Member::key);
  if (it == object->end()) return object->emplace_back(std::string(key), std::move(value)).value;
  return it->value = std::move(value);
}

Value& Value::push_back(Value value) {
  if (is_null()) data_ = Array();
  auto* array = std::get_if<Array>(&data_);
  SKIFF_CHECK(array != nullptr, "values are added to an array");
  return array->emplace_back(std::move(value));
}

void Value::erase(std::string_view key) {
  if (auto* object = std::get_if<Object>(&data_))
    std::erase_if(*object, [&](const Member& member) { return member.key == key; });
}

bool operator==(const Value& a, const Value& b) {
  auto* object = std::get_if<Object>(&a.data_);
  if (object == nullptr || !b.is_object())
    return a.data_.index() == b.data_.index() && a.data_ == b.data_;
  const auto& other = std::get<Object>(b.data_);
  return object->size() == other.size() && std::ranges::all_of(*object, [&](const Member& member) {
           auto it = std::ranges::find(other, member.key, &Member::key);
           return it != other.end() && it->value == member.value;
         });
}

}  // namespace skiff::json
