#include "registry/challenge.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace skiff::registry {
namespace {

bool is_token_char(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

// Reads along one field value.
class Cursor {
 public:
  explicit Cursor(std::string_view text) : rest_(text) {}
  bool done() const { return rest_.empty(); }
  char peek() const { return rest_.empty() ? '\0' : rest_.front(); }
  void skip() { rest_.remove_prefix(std::min<size_t>(1, rest_.size())); }
  void skip_blanks_and(char also) {
    while (!done() && (peek() == ' ' || peek() == '\t' || peek() == also)) skip();
  }
  std::string_view token() {
    size_t n = 0;
    while (n < rest_.size() && is_token_char(rest_[n])) ++n;
    std::string_view token = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return token;
  }
  std::string value() {
    if (peek() != '"') return std::string(token());
    std::string text;
    for (skip(); !done() && peek() != '"'; skip()) {
      if (peek() == '\\') skip();
      text += peek();
    }
    skip();
    return text;
  }

 private:
  std::string_view rest_;
};

}  // namespace

std::string Challenge::param(const std::string& name) const {
  auto found = params.find(name);
  return found == params.end() ? "" : found->second;
}

std::vector<Challenge> parse_challenges(std::string_view field) {
  std::vector<Challenge> challenges;
  Cursor cursor(field);
  for (;;) {
    cursor.skip_blanks_and(',');
    if (cursor.done()) return challenges;
    std::string_view name = cursor.token();
    if (name.empty()) {  // not a token: nothing that we could read on from
      return challenges;
    }
    cursor.skip_blanks_and(' ');
    if (cursor.peek() != '=') {
      challenges.push_back({lower(name), {}});
      continue;
    }
    cursor.skip();
    cursor.skip_blanks_and(' ');
    std::string value = cursor.value();
    if (!challenges.empty()) challenges.back().params.emplace(lower(name), std::move(value));
  }
}

std::vector<Challenge> parse_challenges(const http::Headers& headers) {
  std::vector<Challenge> all;
  for (const http::Header& header : headers) {
    if (!http::same_name(header.name, "WWW-Authenticate")) continue;
    for (Challenge& challenge : parse_challenges(header.value)) all.push_back(std::move(challenge));
  }
  return all;
}

Scopes Scopes::pull(const std::string& repository) {
  return Scopes("repository:" + repository + ":pull");
}
Scopes Scopes::push(const std::string& repository) {
  return Scopes("repository:" + repository + ":pull,push");
}

void Scopes::add(std::string_view text) {
  while (!text.empty()) {
    std::string_view scope = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), scope.size() + 1));
    size_t first = scope.find(':'), last = scope.rfind(':');
    if (first == scope.npos || first == last) continue;
    auto& actions = actions_[std::string(scope.substr(0, last))];
    std::string_view list = scope.substr(last + 1);
    while (!list.empty()) {
      std::string_view action = list.substr(0, list.find(','));
      list.remove_prefix(std::min(list.size(), action.size() + 1));
      if (!action.empty()) actions.emplace(action);
    }
  }
}

void Scopes::add(const Scopes& other) {
  for (auto& [resource, actions] : other.actions_)
    actions_[resource].insert(actions.begin(), actions.end());
}

std::vector<std::string> Scopes::list() const {
  std::vector<std::string> scopes;
  for (auto& [resource, actions] : actions_)
    scopes.push_back(fmt::format("{}:{}", resource, fmt::join(actions, ",")));
  return scopes;
}

std::string Scopes::str() const { return fmt::format("{}", fmt::join(list(), " ")); }

}  // namespace skiff::registry
