#include "http/proxy.h"

#include <arpa/inet.h>

#include <charconv>
#include <cstdlib>
#include <cstring>

namespace skiff::http {
namespace {

std::string variable(const char* upper, const char* lower) {
  const char* value = getenv(upper);
  if (!value || !*value) value = getenv(lower);
  return value ? value : "";
}

struct Address {
  unsigned char bytes[16];
  int size = 0;  // 4, 16, or 0 when the text is no address
};

Address parse_address(std::string_view text) {
  std::string copy(text);
  Address address;
  if (inet_pton(AF_INET, copy.c_str(), address.bytes) == 1)
    address.size = 4;
  else if (inet_pton(AF_INET6, copy.c_str(), address.bytes) == 1)
    address.size = 16;
  return address;
}

bool in_block(const Address& host, std::string_view block) {
  size_t slash = block.find('/');
  Address network = parse_address(block.substr(0, slash));
  if (network.size == 0 || network.size != host.size) return false;
  int bits = network.size * 8;
  if (slash != block.npos) {
    std::string_view text = block.substr(slash + 1);
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bits);
    if (error != std::errc() || end != text.data() + text.size() || bits < 0 ||
        bits > network.size * 8)
      return false;
  }
  if (memcmp(network.bytes, host.bytes, bits / 8) != 0) return false;
  if (bits % 8 == 0) return true;
  int mask = 0xff << (8 - bits % 8) & 0xff;
  return (network.bytes[bits / 8] & mask) == (host.bytes[bits / 8] & mask);
}

// Takes a trailing ":port" off; 0 when there is none. "[::1]:80" and bare IPv6 addresses work.
int take_port(std::string_view& entry) {
  size_t colon = entry.rfind(':');
  bool bare_v6 = entry.find(':') != colon && entry.find(']') == entry.npos;
  int port = 0;
  if (colon != entry.npos && !bare_v6 && (entry.back() != ']')) {
    std::from_chars(entry.data() + colon + 1, entry.data() + entry.size(), port);
    entry = entry.substr(0, colon);
  }
  if (entry.size() > 2 && entry.front() == '[' && entry.back() == ']')
    entry = entry.substr(1, entry.size() - 2);
  return port;
}

bool matches(std::string_view entry, const Url& url, const Address& address) {
  if (entry == "*") return true;
  if (int port = take_port(entry); port != 0 && port != url.port()) return false;
  if (address.size) return in_block(address, entry);
  if (entry.starts_with("*.")) entry.remove_prefix(1);
  if (entry.empty()) return false;
  std::string_view host = url.host();
  if (entry.front() == '.') return host.size() > entry.size() && host.ends_with(entry);
  return host == entry || (host.size() > entry.size() && host.ends_with(entry) &&
                           host[host.size() - entry.size() - 1] == '.');
}

bool excluded(std::string_view list, const Url& url) {
  Address address = parse_address(url.host());
  while (!list.empty()) {
    size_t comma = list.find(',');
    std::string_view entry = list.substr(0, comma);
    list = comma == list.npos ? std::string_view() : list.substr(comma + 1);
    while (!entry.empty() && entry.front() == ' ') entry.remove_prefix(1);
    while (!entry.empty() && entry.back() == ' ') entry.remove_suffix(1);
    std::string lower(entry);
    for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (!lower.empty() && matches(lower, url, address)) return true;
  }
  return false;
}

}  // namespace

ProxyRules ProxyRules::from_environment() {
  return {variable("HTTP_PROXY", "http_proxy"), variable("HTTPS_PROXY", "https_proxy"),
          variable("NO_PROXY", "no_proxy")};
}

std::string ProxyRules::proxy_for(const Url& url) const {
  const std::string& proxy = url.scheme() == "https" ? https : http;
  if (proxy.empty() || is_loopback(url.host()) || excluded(no_proxy, url)) return {};
  return proxy.find("://") == proxy.npos ? "http://" + proxy : proxy;
}

}  // namespace skiff::http
