#include "registry/token.h"

#include <openssl/evp.h>

#include <algorithm>
#include <atomic>

#include "base/metrics/metrics.h"
#include "codec/hash.h"
#include "codec/json/json.h"
#include "http/url.h"

namespace skiff::registry {
namespace {

constexpr char kClientId[] = "skiff";
constexpr size_t kMaxTokenResponse = 1 << 20;
constexpr size_t kMaxEntries = 4096;
// The specification's default, and its least: clients may count on that much.
constexpr std::chrono::seconds kLeastLifetime{60};
constexpr std::chrono::seconds kLongestLifetime{24 * 3600};

std::atomic<uint64_t> next_generation = 1;

const Challenge* find(const std::vector<Challenge>& challenges, std::string_view scheme) {
  for (const Challenge& challenge : challenges)
    if (challenge.scheme == scheme) return &challenge;
  return nullptr;
}

// Credentials never stand in a key themselves.
std::string fingerprint(const std::optional<Credentials>& credentials) {
  if (!credentials || credentials->empty()) return "anonymous";
  const Credentials& c = *credentials;
  std::string text;
  for (const std::string* part : {&c.username, &c.password, &c.identity_token, &c.registry_token})
    text += fmt::format("{}:{};", part->size(), *part);
  return codec::digest_of(text).str();
}

std::string form(std::initializer_list<std::pair<std::string_view, std::string_view>> fields) {
  std::string text;
  for (auto& [key, value] : fields)
    text += fmt::format("{}{}={}", text.empty() ? "" : "&", key, http::percent_encode(value));
  return text;
}

// A token goes into a header: nothing may hide in it.
bool is_clean(std::string_view token) {
  return !token.empty() && std::all_of(token.begin(), token.end(),
                                       [](unsigned char c) { return c > ' ' && c < 0x7f; });
}

}  // namespace

std::string basic_authorization(const std::string& username, const std::string& password) {
  std::string plain = username + ":" + password;
  std::string out((plain.size() + 2) / 3 * 4 + 1, '\0');
  int n = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                          reinterpret_cast<const unsigned char*>(plain.data()),
                          static_cast<int>(plain.size()));
  out.resize(static_cast<size_t>(n));
  return "Basic " + out;
}

std::shared_ptr<TokenCache::Entry> TokenCache::entry(
    const Host& host, const Scopes& scopes, const std::optional<Credentials>& credentials) {
  std::string key = host.base + "\n" + scopes.str() + "\n" + fingerprint(credentials);
  auto entries = entries_.lock();
  if (entries->size() >= kMaxEntries)
    std::erase_if(*entries, [now = Clock::now()](auto& item) {
      return item.second.use_count() == 1 && item.second->slot.lock()->expires <= now;
    });
  auto& found = (*entries)[key];
  if (!found) found = std::make_shared<Entry>();
  return found;
}

TokenCache::Authorization TokenCache::current(const Host& host, const Scopes& scopes,
                                              const std::optional<Credentials>& credentials) {
  if (credentials && !credentials->registry_token.empty())
    return {"Bearer " + credentials->registry_token, 0};
  auto known = entry(host, scopes, credentials);
  auto slot = known->slot.lock();
  if (slot->header.empty() || Clock::now() >= slot->expires) return {"", slot->generation};
  return {slot->header, slot->generation};
}

Result<TokenCache::Authorization> TokenCache::renew(const Context& context, const Host& host,
                                                    const Scopes& scopes,
                                                    const std::optional<Credentials>& credentials,
                                                    const std::vector<Challenge>& challenges,
                                                    const Authorization& refused) {
  if (credentials && !credentials->registry_token.empty())
    return fail(Code::kUnauthenticated, "the given bearer token was refused");
  auto mine = entry(host, scopes, credentials);
  {
    auto slot = mine->slot.lock();
    bool waited = slot->fetching;
    auto deadline = context.deadline().value_or(Clock::now() + std::chrono::hours(24));
    slot.wait_until(mine->changed, context.stop_token(), deadline, [&] { return !slot->fetching; });
    SKIFF_TRY(context.check());
    if (slot->generation != refused.generation && !slot->header.empty())
      return Authorization{slot->header, slot->generation};
    if (waited && slot->last_error) return std::unexpected(*slot->last_error);
    slot->fetching = true;
  }
  auto fresh = obtain(context, host, scopes, credentials, challenges);
  auto slot = mine->slot.lock();
  slot->fetching = false;
  slot->last_error.reset();
  mine->changed.notify_all();
  if (!fresh) {
    slot->header.clear();
    // What only this caller's context ended, the next may try.
    if (context.check()) slot->last_error = fresh.error();
    return std::unexpected(std::move(fresh).error());
  }
  slot->header = std::move(fresh->header);
  slot->expires = fresh->expires;
  slot->generation = next_generation++;
  return Authorization{slot->header, slot->generation};
}

Result<TokenCache::Slot> TokenCache::obtain(const Context& context, const Host& host,
                                            const Scopes& scopes,
                                            const std::optional<Credentials>& credentials,
                                            const std::vector<Challenge>& challenges) {
  Slot slot;
  if (const Challenge* bearer = find(challenges, "bearer")) {
    Scopes wanted = scopes;
    wanted.add(bearer->param("scope"));
    Token token = SKIFF_TRY(fetch(context, host, wanted, credentials, *bearer));
    slot.header = "Bearer " + token.text;
    slot.expires = Clock::now() + token.lifetime * 9 / 10;
    return slot;
  }
  if (!find(challenges, "basic"))
    return fail(Code::kUnauthenticated, "401 without a challenge that is known (basic, bearer)");
  if (!credentials || credentials->username.empty())
    return fail(Code::kUnauthenticated, "credentials are needed: log in first");
  slot.header = basic_authorization(credentials->username, credentials->password);
  slot.expires = Clock::now() + kLongestLifetime;
  return slot;
}

// ---- the token server ----

static Result<http::Request> token_request(const Host& host, const Challenge& challenge,
                                           http::Timeouts timeouts) {
  http::Url registry = SKIFF_TRY(http::Url::parse(host.base));
  http::Url realm = SKIFF_TRY_WRAP(registry.resolve(challenge.param("realm")), "token realm");
  if (registry.scheme() == "https" && realm.scheme() != "https")
    return fail(Code::kPermissionDenied, "the token realm {} would take credentials unencrypted",
                realm.display());
  http::Request request;
  request.url = realm.str();
  request.tls = host.tls;
  if (!realm.same_origin(registry)) {
    request.tls.client_cert.clear();
    request.tls.client_key.clear();
  }
  request.timeouts = timeouts;
  request.timeouts.connect = std::min(timeouts.connect, host.dial_timeout);
  request.max_body = kMaxTokenResponse;
  return request;
}

Result<http::Response> TokenCache::ask_get(const Context& context, http::Request request,
                                           const Scopes& scopes, const std::string& service,
                                           const std::optional<Credentials>& credentials) {
  http::Url url = SKIFF_TRY(http::Url::parse(request.url));
  if (!service.empty()) url = url.with_query("service", service);
  for (const std::string& scope : scopes.list()) url = url.with_query("scope", scope);
  if (credentials && !credentials->username.empty()) {
    url = url.with_query("account", credentials->username);
    request.headers.set(
        {"Authorization", basic_authorization(credentials->username, credentials->password), true});
  }
  request.url = url.str();
  return client_.perform(context, request);
}

Result<http::Response> TokenCache::ask_post(const Context& context, http::Request request,
                                            const Scopes& scopes, const std::string& service,
                                            const Credentials& credentials) {
  bool refresh = !credentials.identity_token.empty();
  request.method = "POST";
  request.headers.set({"Content-Type", "application/x-www-form-urlencoded"});
  // A redirect would carry the form, with the password in it, to wherever it leads.
  request.max_redirects = 0;
  std::string scope = scopes.str();
  request.body = http::Body::of(refresh ? form({{"grant_type", "refresh_token"},
                                                {"refresh_token", credentials.identity_token},
                                                {"service", service},
                                                {"client_id", kClientId},
                                                {"scope", scope}})
                                        : form({{"grant_type", "password"},
                                                {"username", credentials.username},
                                                {"password", credentials.password},
                                                {"service", service},
                                                {"client_id", kClientId},
                                                {"scope", scope}}));
  return client_.perform(context, request);
}

Result<TokenCache::Token> TokenCache::fetch(const Context& context, const Host& host,
                                            const Scopes& scopes,
                                            const std::optional<Credentials>& credentials,
                                            const Challenge& challenge) {
  http::Request request = SKIFF_TRY(token_request(host, challenge, timeouts_));
  std::string where = SKIFF_TRY(http::Url::parse(request.url)).display();
  std::string service = challenge.param("service");
  bool oauth = credentials && !credentials->identity_token.empty();
  auto response = oauth ? ask_post(context, request, scopes, service, *credentials)
                        : ask_get(context, request, scopes, service, credentials);
  // Servers that know only OAuth2.
  if (!oauth && response && credentials && !credentials->username.empty() &&
      (response->status == 404 || response->status == 405))
    response = ask_post(context, request, scopes, service, *credentials);
  metrics::counter("skiff_registry_token_requests_total", "Requests to token servers",
                   {{"outcome", response ? fmt::format("{}", response->status) : "error"}})
      .increment();
  if (!response) return std::unexpected(std::move(response).error().wrap("token"));
  if (response->status == 401 || response->status == 403 || response->status == 400)
    return fail(Code::kUnauthenticated, "{} refused the credentials (status {})", where,
                response->status);
  if (!response->success())
    return fail(Code::kUnavailable, "{}: status {}", where, response->status);

  // Its text is secret: errors say where, never what.
  auto document = json::parse(response->body);
  if (!document) return fail(Code::kUnavailable, "{}: the answer is no JSON", where);
  std::string token = document->get_string("token", "").value_or("");
  if (token.empty()) token = document->get_string("access_token", "").value_or("");
  if (!is_clean(token)) return fail(Code::kUnavailable, "{}: the answer has no token", where);
  std::chrono::seconds lifetime(document->get_int("expires_in", 0).value_or(0));
  return Token{token, std::clamp(lifetime, kLeastLifetime, kLongestLifetime)};
}

}  // namespace skiff::registry
