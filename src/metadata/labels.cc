#include "metadata/labels.h"

#include <charconv>
#include <ctime>

namespace skiff::metadata {
namespace {

void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  for (char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  out += '"';
}

// Walks over what encode_labels wrote (only \", \\ and \u00XX are ever escaped).
class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}

  bool take(char c) {
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool at_end() const { return rest_.empty(); }

  // The string that follows, still escaped.
  std::optional<std::string_view> quoted() {
    if (!take('"')) return std::nullopt;
    size_t end = 0;
    while (end < rest_.size() && rest_[end] != '"') end += rest_[end] == '\\' ? 2 : 1;
    if (end >= rest_.size()) return std::nullopt;
    std::string_view raw = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return raw;
  }

 private:
  std::string_view rest_;
};

// The string itself: `raw` where it has no escapes, else built in `scratch`.
std::optional<std::string_view> unescape(std::string_view raw, std::string& scratch) {
  if (raw.find('\\') == std::string_view::npos) return raw;
  scratch.clear();
  for (size_t i = 0; i < raw.size(); ++i) {
    if (raw[i] != '\\') {
      scratch += raw[i];
    } else if (raw[++i] != 'u') {
      scratch += raw[i];
    } else {
      unsigned code = 0;
      const char* digits = raw.data() + i + 1;
      if (raw.size() - i < 5 || std::from_chars(digits, digits + 4, code, 16).ptr != digits + 4)
        return std::nullopt;
      scratch += static_cast<char>(code);
      i += 4;
    }
  }
  return scratch;
}

std::unexpected<Error> damaged(std::string_view text) {
  return fail(Code::kDataLoss, "metadata: labels are damaged: {}", text.substr(0, 200));
}

}  // namespace

Status check_labels(const Labels& labels) {
  for (const auto& [key, value] : labels) {
    if (key.empty()) return fail(Code::kInvalidArgument, "a label has no name");
    if (key.size() + value.size() > kMaxLabelBytes)
      return fail(Code::kInvalidArgument, "label {} and its value have {} bytes, {} are allowed",
                  key.substr(0, 64), key.size() + value.size(), kMaxLabelBytes);
  }
  return ok();
}

std::string encode_labels(const Labels& labels) {
  std::string text = "{";
  for (const auto& [key, value] : labels) {
    if (text.size() > 1) text += ',';
    append_quoted(text, key);
    text += ':';
    append_quoted(text, value);
  }
  return text += '}';
}

Result<Labels> decode_labels(std::string_view text) {
  Labels labels;
  if (text == "{}") return labels;
  Scanner scanner(text);
  char separator = '{';
  std::string key_scratch, value_scratch;
  while (scanner.take(separator)) {
    auto raw_key = scanner.quoted();
    auto raw_value = scanner.take(':') ? scanner.quoted() : std::nullopt;
    if (!raw_key || !raw_value) return damaged(text);
    auto key = unescape(*raw_key, key_scratch);
    auto value = unescape(*raw_value, value_scratch);
    if (!key || !value) return damaged(text);
    labels.emplace_hint(labels.end(), *key, *value);
    separator = ',';
  }
  if (!scanner.take('}') || !scanner.at_end()) return damaged(text);
  return labels;
}

std::optional<std::string_view> find_label(std::string_view text, std::string_view key,
                                           std::string& scratch) {
  Scanner scanner(text);
  for (char separator = '{'; scanner.take(separator); separator = ',') {
    auto raw_key = scanner.quoted();
    auto raw_value = scanner.take(':') ? scanner.quoted() : std::nullopt;
    if (!raw_key || !raw_value) return std::nullopt;
    if (unescape(*raw_key, scratch) == key) return unescape(*raw_value, scratch);
  }
  return std::nullopt;
}

Result<std::optional<Time>> label_expiry(const Labels& labels) {
  auto label = labels.find("containerd.io/gc.expire");
  if (label == labels.end()) return std::nullopt;
  auto bad = [&] {
    return fail(Code::kInvalidArgument,
                "label containerd.io/gc.expire=\"{}\": use a time as RFC 3339 has it, "
                "2006-01-02T15:04:05Z",
                label->second);
  };
  tm time{};
  const char* rest = strptime(label->second.c_str(), "%Y-%m-%dT%H:%M:%S", &time);
  if (rest == nullptr) return bad();
  Time value = int64_t{timegm(&time)} * 1'000'000'000;
  if (*rest == '.') {
    int64_t unit = 100'000'000;
    for (++rest; *rest >= '0' && *rest <= '9'; ++rest, unit /= 10) value += (*rest - '0') * unit;
  }
  if (std::string_view(rest) == "Z" || std::string_view(rest) == "z") return value;
  int hours = 0, minutes = 0, end = 0;
  char sign = 0;
  if (sscanf(rest, "%c%2d:%2d%n", &sign, &hours, &minutes, &end) != 3 || rest[end] != '\0' ||
      (sign != '+' && sign != '-'))
    return bad();
  int64_t offset = (hours * 60 + minutes) * int64_t{60'000'000'000};
  return sign == '+' ? value - offset : value + offset;
}

}  // namespace skiff::metadata
