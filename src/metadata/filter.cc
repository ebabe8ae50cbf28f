#include "metadata/filter.h"

#include <algorithm>
#include <charconv>

#include <re2/re2.h>

namespace skiff::metadata {
namespace {

constexpr size_t kMaxText = 64 * 1024;
// What one regular expression may take, compiled.
constexpr int64_t kMaxRegexBytes = 1 << 20;

enum class Operator { kPresent, kEqual, kNotEqual, kMatches };

struct Selector {
  std::vector<std::string> names;  // owns what path views
  std::vector<std::string_view> path;
  Operator op = Operator::kPresent;
  std::string value;
  std::unique_ptr<RE2> regex;

  bool match(const Filter::Lookup& lookup) const {
    std::optional<std::string_view> found = lookup(path);
    switch (op) {
      case Operator::kPresent: return found.has_value();
      case Operator::kEqual: return found == value;
      case Operator::kNotEqual: return found != value;
      case Operator::kMatches: {
        std::string_view text = found.value_or("");
        return RE2::PartialMatch(re2::StringPiece(text.data(), text.size()), *regex);
      }
    }
    return false;
  }
};

using All = std::vector<Selector>;

bool is_field(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

void append_utf8(std::string& out, uint32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xc0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xe0 | (c >> 12));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3f));
    out += static_cast<char>(0x80 | (c & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | (c >> 18));
    out += static_cast<char>(0x80 | ((c >> 12) & 0x3f));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3f));
    out += static_cast<char>(0x80 | (c & 0x3f));
  }
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<All> parse() {
    if (text_.size() > kMaxText) return bad(0, "more than {} bytes", kMaxText);
    All all;
    do {
      all.push_back(SKIFF_TRY(selector()));
    } while (take(","));
    if (at_ < text_.size())
      return bad(at_, "expected a comma, an operator (==, !=, ~=) or the end");
    return all;
  }

 private:
  template <typename... Args>
  std::unexpected<Error> bad(size_t at, fmt::format_string<Args...> format, Args&&... args) {
    return fail(Code::kInvalidArgument, "filter \"{}\": at character {}: {}", text_.substr(0, 256),
                at + 1, fmt::format(format, std::forward<Args>(args)...));
  }

  bool take(std::string_view token) {
    if (!text_.substr(at_).starts_with(token)) return false;
    at_ += token.size();
    return true;
  }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  Result<Selector> selector() {
    Selector selector;
    do {
      selector.names.push_back(SKIFF_TRY(field()));
    } while (take("."));
    // Views of strings that move with the vector's buffer, not within it.
    selector.path.assign(selector.names.begin(), selector.names.end());
    if (take("==")) {
      selector.op = Operator::kEqual;
    } else if (take("!=")) {
      selector.op = Operator::kNotEqual;
    } else if (take("~=")) {
      selector.op = Operator::kMatches;
    } else {
      return selector;
    }
    size_t begin = at_;
    selector.value = SKIFF_TRY(value());
    if (selector.op == Operator::kMatches) selector.regex = SKIFF_TRY(regex(selector.value, begin));
    return selector;
  }

  Result<std::string> field() {
    if (peek() == '"') return quoted();
    size_t begin = at_;
    while (at_ < text_.size() && is_field(text_[at_])) ++at_;
    if (at_ == begin)
      return bad(at_, "expected the name of a field; put one with other characters in quotes");
    return std::string(text_.substr(begin, at_ - begin));
  }

  Result<std::string> value() {
    if (peek() == '"' || peek() == '/' || peek() == '|') return quoted();
    size_t begin = at_;
    while (at_ < text_.size() && text_[at_] != ',' && static_cast<unsigned char>(text_[at_]) > ' ')
      ++at_;
    if (at_ == begin) return bad(at_, "expected a value; write \"\" for an empty one");
    return std::string(text_.substr(begin, at_ - begin));
  }

  Result<std::string> quoted() {
    size_t begin = at_;
    char quote = text_[at_++];
    std::string out;
    for (; at_ < text_.size(); ++at_) {
      char c = text_[at_];
      if (c == quote) {
        ++at_;
        return out;
      }
      if (c == '\\') {
        SKIFF_TRY(escape(quote, out));
      } else {
        out += c;
      }
    }
    return bad(begin, "the quote {} is not closed", quote);
  }

  // At a backslash; ends at the escape's last character.
  Status escape(char quote, std::string& out) {
    size_t begin = at_;
    if (++at_ == text_.size()) return bad(begin, "nothing follows the backslash");
    char c = text_[at_];
    constexpr std::string_view kLetters = "abfnrtv";
    constexpr std::string_view kMeanings = "\a\b\f\n\r\t\v";
    if (c == quote) {
      out += c;
    } else if (quote != '"') {
      out += '\\';
      out += c;
    } else if (c == '\\' || c == '\'') {
      out += c;
    } else if (size_t i = kLetters.find(c); i != std::string_view::npos) {
      out += kMeanings[i];
    } else if (c == 'x' || c == 'u' || c == 'U') {
      return hex_escape(c == 'x' ? 2 : c == 'u' ? 4 : 8, out);
    } else if (c >= '0' && c <= '7') {
      return number_escape(at_, 3, 8, true, out);
    } else {
      return bad(begin, "unknown escape \\{}", c);
    }
    return ok();
  }

  Status hex_escape(size_t digits, std::string& out) {
    return number_escape(at_ + 1, digits, 16, digits == 2, out);
  }

  Status number_escape(size_t begin, size_t digits, int base, bool byte, std::string& out) {
    uint32_t code = 0;
    const char* first = text_.data() + begin;
    const char* last = text_.data() + std::min(text_.size(), begin + digits);
    auto read = std::from_chars(first, last, code, base);
    bool whole = read.ptr == first + digits;
    bool valid = byte ? code <= 0xff : code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
    if (!whole || !valid) return bad(begin, "expected {} digits of a character", digits);
    if (byte) {
      out += static_cast<char>(code);
    } else {
      append_utf8(out, code);
    }
    at_ = begin + digits - 1;
    return ok();
  }

  Result<std::unique_ptr<RE2>> regex(const std::string& pattern, size_t at) {
    RE2::Options options;
    options.set_log_errors(false);
    options.set_max_mem(kMaxRegexBytes);
    auto regex = std::make_unique<RE2>(pattern, options);
    if (!regex->ok()) return bad(at, "regular expression: {}", regex->error());
    return regex;
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

struct Filter::Any {
  std::vector<All> filters;
};

Result<Filter> Filter::compile(const std::vector<std::string>& texts) {
  auto any = std::make_shared<Any>();
  for (const std::string& text : texts) any->filters.push_back(SKIFF_TRY(Parser(text).parse()));
  Filter filter;
  filter.any_ = std::move(any);
  return filter;
}

bool Filter::match(const Lookup& lookup) const {
  if (any_ == nullptr || any_->filters.empty()) return true;
  for (const All& all : any_->filters) {
    bool matches = true;
    for (const Selector& selector : all)
      if (!(matches = selector.match(lookup))) break;
    if (matches) return true;
  }
  return false;
}

}  // namespace skiff::metadata
