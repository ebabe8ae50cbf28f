// Which proxy a request goes through. The rules are those that Go's programs (so containerd and
// Docker) follow, so that one environment means the same to all of them:
//   HTTP_PROXY, HTTPS_PROXY, NO_PROXY, or the same in lower case; upper case wins. HTTPS_PROXY is
//   for https URLs, HTTP_PROXY for http. A value without a scheme means http://.
//   NO_PROXY is a list separated by commas: "*"; an address or CIDR block; "example.com" (it and
//   what is below it); ".example.com" or "*.example.com" (only what is below it); each may end in
//   ":port". Loopback hosts never go through a proxy.
#pragma once

#include <string>

#include "http/url.h"

namespace skiff::http {

struct ProxyRules {
  std::string http, https, no_proxy;

  // Reads the process's environment, which nothing changes while threads run.
  static ProxyRules from_environment();
  // The proxy's URL (it may hold a password: never log it), or empty for none.
  std::string proxy_for(const Url& url) const;
};

}  // namespace skiff::http
