// An absolute http or https URL, taken apart. Parsing follows RFC 3986 through libcurl's URL API.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace skiff::http {

class Url {
 public:
  // InvalidArgument for anything but an absolute http(s) URL, and for one that holds a user or a
  // password (credentials travel in headers only). A fragment is dropped.
  static Result<Url> parse(std::string_view text);

  // What a Location header means when it came from this URL: absolute, or relative to it.
  Result<Url> resolve(std::string_view location) const;

  // The whole URL, query included. The query may hold a signature: use display() in messages.
  const std::string& str() const { return text_; }
  // "https", "registry.example.com:5000" (default ports left out), "/v2/x".
  const std::string& scheme() const { return scheme_; }
  const std::string& authority() const { return authority_; }
  const std::string& path() const { return path_; }
  // The name or address alone, lower case, an IPv6 address without its brackets.
  const std::string& host() const { return host_; }
  // Given or the scheme's default.
  int port() const { return port_; }
  // Scheme, authority and path: what messages and logs may show.
  std::string display() const { return scheme_ + "://" + authority_ + path_; }

  bool same_origin(const Url& other) const {
    return scheme_ == other.scheme_ && authority_ == other.authority_;
  }
  // This URL with one more query parameter; both parts are escaped here.
  Url with_query(std::string_view key, std::string_view value) const;

 private:
  std::string text_, scheme_, authority_, host_, path_;
  int port_ = 0;
};

// Percent-encodes everything but RFC 3986's unreserved characters.
std::string percent_encode(std::string_view text);
// "localhost", 127.0.0.0/8 and ::1 (no brackets), by their text alone; nothing is resolved.
bool is_loopback(std::string_view host);

}  // namespace skiff::http
