#include "bin/skiffd/toml.h"

#include "codec/toml_library.h"

namespace skiff::daemon {
namespace {

Result<TomlEntry::Value> value_of(const toml::node& node) {
  if (auto text = node.as_string()) return text->get();
  if (auto number = node.as_integer()) return number->get();
  if (auto flag = node.as_boolean()) return flag->get();
  if (auto number = node.as_floating_point()) return number->get();
  const toml::array* array = node.as_array();
  if (array == nullptr) return fail(Code::kInvalidArgument, "dates have no use here");
  std::vector<std::string> texts;
  for (const toml::node& element : *array) {
    auto text = element.as_string();
    if (text == nullptr) return fail(Code::kInvalidArgument, "expected a list of strings");
    texts.push_back(text->get());
  }
  return texts;
}

Status flatten(const toml::table& table, const std::string& prefix, const std::string& file_name,
               std::vector<TomlEntry>& entries) {
  for (const auto& [name, node] : table) {
    std::string key = prefix + std::string(name.str());
    if (const toml::table* inner = node.as_table()) {
      SKIFF_TRY(flatten(*inner, key + ".", file_name, entries));
      continue;
    }
    int line = static_cast<int>(node.source().begin.line);
    auto value = SKIFF_TRY_WRAP(value_of(node), "{}:{}: {}", file_name, line, key);
    entries.push_back({std::move(key), line, std::move(value)});
  }
  return ok();
}

}  // namespace

Result<std::vector<TomlEntry>> parse_toml(std::string_view text, const std::string& file_name) {
  toml::parse_result parsed = toml::parse(text);
  if (!parsed)
    return fail(Code::kInvalidArgument, "{}:{}: {}", file_name, parsed.error().source().begin.line,
                parsed.error().description());
  std::vector<TomlEntry> entries;
  SKIFF_TRY(flatten(parsed.table(), "", file_name, entries));
  return entries;
}

std::string toml_quote(std::string_view text) {
  std::string quoted = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    if (static_cast<unsigned char>(c) < 0x20) {
      quoted += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

}  // namespace skiff::daemon
