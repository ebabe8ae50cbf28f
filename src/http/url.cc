#include "http/url.h"

#include <arpa/inet.h>
#include <curl/curl.h>

#include <algorithm>
#include <charconv>
#include <memory>

namespace skiff::http {
namespace {

struct UrlDeleter {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using Handle = std::unique_ptr<CURLU, UrlDeleter>;

std::string part(CURLU* url, CURLUPart what, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, what, &text, flags) != CURLUE_OK) return {};
  std::string copy = text;
  curl_free(text);
  return copy;
}

bool has_odd_bytes(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](unsigned char c) { return c <= ' ' || c == 0x7f || c == '\\'; });
}

// What may be shown of a URL that could not be parsed: nothing that might be a password or token.
std::string_view showable(std::string_view text) {
  return text.find('@') == text.npos ? text.substr(0, text.find('?')) : "(with a user name)";
}

}  // namespace

static Status set(CURLU* url, std::string_view text) {
  // libcurl takes a C string and is lenient about blanks: refuse what could hide in either.
  if (has_odd_bytes(text))
    return fail(Code::kInvalidArgument, "URL \"{}\": blank or control characters", showable(text));
  CURLUcode code = curl_url_set(url, CURLUPART_URL, std::string(text).c_str(), CURLU_DISALLOW_USER);
  if (code != CURLUE_OK)
    return fail(Code::kInvalidArgument, "URL \"{}\": {}", showable(text), curl_url_strerror(code));
  return ok();
}

Result<Url> Url::parse(std::string_view text) {
  Handle handle(curl_url());
  SKIFF_TRY(set(handle.get(), text));
  curl_url_set(handle.get(), CURLUPART_FRAGMENT, nullptr, 0);
  Url url;
  url.scheme_ = part(handle.get(), CURLUPART_SCHEME);
  if (url.scheme_ != "http" && url.scheme_ != "https")
    return fail(Code::kInvalidArgument, "URL \"{}\": neither http nor https", showable(text));
  std::string host = part(handle.get(), CURLUPART_HOST);
  std::transform(host.begin(), host.end(), host.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  curl_url_set(handle.get(), CURLUPART_HOST, host.c_str(), 0);
  url.path_ = part(handle.get(), CURLUPART_PATH);
  std::string port = part(handle.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT);
  std::from_chars(port.data(), port.data() + port.size(), url.port_);
  url.authority_ = host;
  if (url.port_ != (url.scheme_ == "https" ? 443 : 80)) url.authority_ += ":" + port;
  bool bracketed = host.size() > 2 && host.front() == '[';
  url.host_ = bracketed ? host.substr(1, host.size() - 2) : host;
  url.text_ = part(handle.get(), CURLUPART_URL, CURLU_NO_DEFAULT_PORT);
  return url;
}

Result<Url> Url::resolve(std::string_view location) const {
  Handle handle(curl_url());
  SKIFF_TRY(set(handle.get(), text_));
  SKIFF_TRY(set(handle.get(), location));
  return parse(part(handle.get(), CURLUPART_URL));
}

Url Url::with_query(std::string_view key, std::string_view value) const {
  Url url = *this;
  url.text_ += text_.find('?') == text_.npos ? '?' : '&';
  url.text_ += percent_encode(key) + "=" + percent_encode(value);
  return url;
}

std::string percent_encode(std::string_view text) {
  std::string out;
  for (unsigned char c : text) {
    bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                 c == '-' || c == '.' || c == '_' || c == '~';
    if (plain)
      out += static_cast<char>(c);
    else
      out += fmt::format("%{:02X}", c);
  }
  return out;
}

bool is_loopback(std::string_view host) {
  std::string name(host);
  in_addr v4;
  if (inet_pton(AF_INET, name.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  in6_addr v6;
  if (inet_pton(AF_INET6, name.c_str(), &v6) == 1) return IN6_IS_ADDR_LOOPBACK(&v6);
  return name == "localhost";
}

}  // namespace skiff::http
