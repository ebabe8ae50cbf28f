// What registries send in headers: challenges, scopes, Retry-After, Location.
#include <cstdint>

#include "base/check.h"
#include "http/url.h"
#include "registry/challenge.h"
#include "registry/retry.h"

using namespace skiff;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const registry::Challenge& challenge : registry::parse_challenges(text)) {
    SKIFF_CHECK(!challenge.scheme.empty(), "a challenge has a scheme");
    registry::Scopes scopes(challenge.param("scope"));
    SKIFF_CHECK(registry::Scopes(scopes.str()).str() == scopes.str(), "scopes are stable");
  }
  auto wait = registry::parse_retry_after(text, std::chrono::system_clock::now());
  SKIFF_CHECK(!wait || wait->count() >= 0, "a wait is never negative");
  if (auto url = http::Url::parse(text)) {
    auto again = http::Url::parse(url->str());
    SKIFF_CHECK(again && again->str() == url->str(), "a URL is stable");
    SKIFF_CHECK(url->same_origin(*again), "so is its origin");
  }
  static const auto base = *http::Url::parse("https://registry.example/v2/a/blobs/uploads/1?x=y");
  if (auto next = base.resolve(text))
    SKIFF_CHECK(next->scheme() == "http" || next->scheme() == "https", "redirects lead to HTTP");
  return 0;
}
