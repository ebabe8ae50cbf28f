#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <unordered_set>

#include <rapidjson/encodedstream.h>
#include <rapidjson/error/en.h>
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>

#include "codec/json/json.h"

namespace skiff::json {
namespace {

// Collects RapidJSON's events on a stack; the end of an array or object folds what it holds. Member
// names lie on the stack as strings before their values.
class Builder : public rapidjson::BaseReaderHandler<rapidjson::UTF8<>, Builder> {
 public:
  explicit Builder(const Limits& limits) : limits_(limits) {}

  bool Null() { return push(Value()); }
  bool Bool(bool value) { return push(value); }
  bool RawNumber(const char* text, unsigned size, bool) {
    Value value = number({text, size});
    if (value != Value(HUGE_VAL) && value != Value(-HUGE_VAL)) return push(std::move(value));
    exceeded_ = "a number too large for a double";
    return false;
  }
  bool String(const char* text, unsigned size, bool) { return push(std::string(text, size)); }
  bool Key(const char* text, unsigned size, bool) { return push(std::string(text, size)); }
  bool StartObject() { return descend(); }
  bool StartArray() { return descend(); }

  bool EndArray(unsigned count) {
    --depth_;
    auto first = stack_.end() - count;
    Array array(std::make_move_iterator(first), std::make_move_iterator(stack_.end()));
    stack_.erase(first, stack_.end());
    stack_.emplace_back(std::move(array));
    return true;
  }

  bool EndObject(unsigned count) {
    --depth_;
    auto first = stack_.end() - 2 * static_cast<ptrdiff_t>(count);
    Object object;
    object.reserve(count);
    for (auto it = first; it != stack_.end(); it += 2)
      object.emplace_back(std::string(*it->as_string()), std::move(it[1]));
    drop_duplicates(object);
    stack_.erase(first, stack_.end());
    stack_.emplace_back(std::move(object));
    return true;
  }

  const char* exceeded() const { return exceeded_; }
  Value take() { return std::move(stack_.front()); }

 private:
  bool push(Value value) {
    if (++count_ > limits_.values) {
      exceeded_ = "too many values";
      return false;
    }
    stack_.push_back(std::move(value));
    return true;
  }

  bool descend() {
    if (++depth_ <= limits_.depth && ++count_ <= limits_.values) return true;
    exceeded_ = depth_ > limits_.depth ? "nested too deeply" : "too many values";
    return false;
  }

  // The narrowest of int64, uint64 and double that holds it. The reader has checked the grammar.
  static Value number(std::string_view text) {
    const char* end = text.data() + text.size();
    int64_t whole = 0;
    if (auto [rest, error] = std::from_chars(text.data(), end, whole);
        error == std::errc() && rest == end)
      return whole;
    uint64_t large = 0;
    if (auto [rest, error] = std::from_chars(text.data(), end, large);
        error == std::errc() && rest == end)
      return large;
    double real = 0;
    if (std::from_chars(text.data(), end, real).ec == std::errc()) return real;
    return std::strtod(std::string(text).c_str(), nullptr);  // out of range: infinite, or nearly 0
  }

  static void drop_duplicates(Object& object) {
    std::unordered_set<std::string_view> seen;
    std::vector<bool> keep(object.size());
    for (size_t i = object.size(); i-- > 0;) keep[i] = seen.insert(object[i].key).second;
    if (seen.size() == object.size()) return;
    Object unique;
    for (size_t i = 0; i < object.size(); ++i)
      if (keep[i]) unique.push_back(std::move(object[i]));
    object = std::move(unique);
  }

  const Limits& limits_;
  std::vector<Value> stack_;
  size_t count_ = 0;
  size_t depth_ = 0;
  const char* exceeded_ = nullptr;
};

// Numbers as text: the library's own conversion shifts by an undefined count for some long ones.
constexpr unsigned kFlags = rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag |
                            rapidjson::kParseNumbersAsStringsFlag;

}  // namespace

Result<Value> parse(std::string_view text, const Limits& limits) {
  if (text.size() > limits.bytes)
    return fail(Code::kResourceExhausted, "JSON of {} bytes is larger than the limit of {}",
                text.size(), limits.bytes);
  rapidjson::MemoryStream memory(text.data(), text.size());
  rapidjson::EncodedInputStream<rapidjson::UTF8<>, rapidjson::MemoryStream> stream(memory);
  Builder builder(limits);
  rapidjson::Reader reader;
  auto result = reader.Parse<kFlags>(stream, builder);
  if (builder.exceeded() != nullptr)
    return fail(Code::kResourceExhausted, "JSON at byte {}: {}", result.Offset(),
                builder.exceeded());
  if (result.IsError())
    return fail(Code::kInvalidArgument, "JSON at byte {}: {}", result.Offset(),
                rapidjson::GetParseError_En(result.Code()));
  // The reader takes a NUL byte for the end of its stream.
  size_t end = std::min(stream.Tell(), text.size());
  if (auto nul = text.find('\0', end > 0 ? end - 1 : 0); nul != std::string_view::npos)
    return fail(Code::kInvalidArgument, "JSON at byte {}: a NUL byte", nul);
  return builder.take();
}

}  // namespace skiff::json
