// hosts.toml, which people write: whatever parses names hosts that requests can go to; whatever
// does not is refused with the file's name.
#include <cstdint>

#include "base/check.h"
#include "base/log.h"
#include "http/url.h"
#include "registry/hosts.h"

using namespace skiff;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  log::configure({.level = log::Level::kError});  // unknown keys are only warned of
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto file = registry::parse_hosts_toml(text, "hosts.toml", "/nonexistent");
  if (!file) {
    SKIFF_CHECK(file.error().message().starts_with("hosts.toml:"), "an error names the file");
    return 0;
  }
  if (!file->server.base.empty()) file->mirrors.push_back(file->server);
  for (const registry::Host& host : file->mirrors) {
    SKIFF_CHECK(http::Url::parse(host.base + "/x/manifests/y"), "a host's base is a URL");
    SKIFF_CHECK(host.dial_timeout.count() > 0, "connecting is given some time");
    SKIFF_CHECK(!host.base.ends_with('/'), "paths can follow");
  }
  return 0;
}
