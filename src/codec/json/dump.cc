#include <cmath>
#include <iterator>

#include <fmt/format.h>

#include "codec/json/json.h"

namespace skiff::json {
namespace {

// The length of the UTF-8 sequence at the start of `text`, or 0 where there is none.
size_t utf8_length(std::string_view text) {
  auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  auto tail = [&](size_t i) { return i < text.size() && (byte(i) & 0xc0) == 0x80; };
  unsigned char first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return tail(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    if (!tail(1) || !tail(2)) return 0;
    bool overlong = first == 0xe0 && byte(1) < 0xa0;
    bool surrogate = first == 0xed && byte(1) > 0x9f;
    return overlong || surrogate ? 0 : 3;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    if (!tail(1) || !tail(2) || !tail(3)) return 0;
    bool outside = (first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) > 0x8f);
    return outside ? 0 : 4;
  }
  return 0;
}

void append_escaped(std::string& out, char c) {
  switch (c) {
    case '"': out += "\\\""; return;
    case '\\': out += "\\\\"; return;
    case '\n': out += "\\n"; return;
    case '\r': out += "\\r"; return;
    case '\t': out += "\\t"; return;
    default: break;
  }
  if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
    fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
  else
    out += c;
}

void append_string(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    size_t n = utf8_length(text);
    if (n == 0)
      out += "\xef\xbf\xbd";
    else if (n == 1)
      append_escaped(out, text[0]);
    else
      out += text.substr(0, n);
    text.remove_prefix(n == 0 ? 1 : n);
  }
  out += '"';
}

void append_double(std::string& out, double value) {
  if (std::isfinite(value))
    fmt::format_to(std::back_inserter(out), "{}", value);
  else
    out += "null";
}

void new_line(std::string& out, int indent, int depth) {
  if (indent == 0) return;
  out += '\n';
  out.append(static_cast<size_t>(indent) * depth, ' ');
}

}  // namespace

void append(std::string& out, const Value& value, int indent, int depth) {
  auto list = [&](char open, char close, const auto& items, auto item) {
    out += open;
    bool first = true;
    for (const auto& element : items) {
      if (!first) out += ',';
      first = false;
      new_line(out, indent, depth + 1);
      item(element);
    }
    if (!items.empty()) new_line(out, indent, depth);
    out += close;
  };
  switch (value.type()) {
    case Type::kNull: out += "null"; break;
    case Type::kBool: out += std::get<bool>(value.data_) ? "true" : "false"; break;
    case Type::kInt: out += std::to_string(std::get<int64_t>(value.data_)); break;
    case Type::kUint: out += std::to_string(std::get<uint64_t>(value.data_)); break;
    case Type::kDouble: append_double(out, std::get<double>(value.data_)); break;
    case Type::kString: append_string(out, std::get<std::string>(value.data_)); break;
    case Type::kArray:
      list('[', ']', std::get<Array>(value.data_),
           [&](const Value& item) { append(out, item, indent, depth + 1); });
      break;
    case Type::kObject:
      list('{', '}', std::get<Object>(value.data_), [&](const Member& member) {
        append_string(out, member.key);
        out += indent == 0 ? ":" : ": ";
        append(out, member.value, indent, depth + 1);
      });
      break;
  }
}

std::string dump(const Value& value, int indent) {
  std::string out;
  append(out, value, indent, 0);
  return out;
}

}  // namespace skiff::json
