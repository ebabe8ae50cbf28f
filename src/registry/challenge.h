// What a registry asks for with 401: WWW-Authenticate (RFC 9110, 11.6.1) and token scopes
// (distribution specification, "Token Authentication": "repository:library/redis:pull,push").
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "http/message.h"

namespace skiff::registry {

struct Challenge {
  std::string scheme;                         // lower case: "bearer", "basic"
  std::map<std::string, std::string> params;  // names in lower case

  std::string param(const std::string& name) const;
};

// Every challenge of every WWW-Authenticate field, in order. What cannot be read is left out.
std::vector<Challenge> parse_challenges(const http::Headers& headers);
std::vector<Challenge> parse_challenges(std::string_view field);

// A set of scopes; actions of the same resource are merged.
class Scopes {
 public:
  Scopes() = default;
  // Scopes separated by blanks; malformed ones are left out.
  explicit Scopes(std::string_view text) { add(text); }
  static Scopes pull(const std::string& repository);
  static Scopes push(const std::string& repository);

  void add(std::string_view text);
  void add(const Scopes& other);
  // One string a resource, sorted: "repository:a/b:pull,push".
  std::vector<std::string> list() const;
  // All of them, separated by blanks: good as a key.
  std::string str() const;

 private:
  std::map<std::string, std::set<std::string>> actions_;  // by "type:name"
};

}  // namespace skiff::registry
