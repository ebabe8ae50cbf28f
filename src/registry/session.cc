#include "registry/session.h"

#include <algorithm>

#include "base/metrics/metrics.h"
#include "codec/json/json.h"
#include "http/url.h"

namespace skiff::registry {
namespace {

constexpr size_t kMaxRemark = 200;

void count(const Host& host, const http::Request& request, const Result<http::Response>& response) {
  metrics::counter("skiff_registry_requests_total", "Requests to registries",
                   {{"host", host.name},
                    {"method", request.method},
                    {"status", response ? fmt::format("{}", response->status) : "error"}})
      .increment();
}

// Text from outside, fit for one line of an error.
std::string clean(std::string_view text) {
  std::string out(text.substr(0, kMaxRemark));
  for (char& c : out)
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) c = ' ';
  if (text.size() > kMaxRemark) out += "...";
  return out;
}

// The distribution specification's error document: {"errors":[{"code":..,"message":..}]}.
std::string remark(std::string_view body) {
  auto document = json::parse(body);
  if (!document) return {};
  auto errors = document->get_array("errors");
  if (!errors || (*errors)->empty()) return {};
  const json::Value& first = (*errors)->front();
  std::string code = first.get_string("code", "").value_or("");
  std::string message = first.get_string("message", "").value_or("");
  return clean(code.empty() || message.empty() ? code + message : code + ": " + message);
}

bool same_origin(const std::string& a, const std::string& b) {
  auto left = http::Url::parse(a), right = http::Url::parse(b);
  return left && right && left->same_origin(*right);
}

void strip_secrets(http::Request& request) {
  request.headers.remove_sensitive();
  request.tls.client_cert.clear();
  request.tls.client_key.clear();
}

bool is_transient(int status) { return status == 408 || status == 429 || status >= 500; }

}  // namespace

Error status_error(const http::Response& response) {
  Code code = Code::kUnavailable;
  std::string_view meaning = "unexpected status";
  switch (response.status) {
    case 400:
      code = Code::kInvalidArgument;
      meaning = "bad request";
      break;
    case 401:
      code = Code::kUnauthenticated;
      meaning = "not authorized";
      break;
    case 403:
      code = Code::kPermissionDenied;
      meaning = "access denied";
      break;
    case 404:
      code = Code::kNotFound;
      meaning = "not found";
      break;
    case 413:
      code = Code::kResourceExhausted;
      meaning = "too large";
      break;
    case 429: meaning = "too many requests"; break;
    default: break;
  }
  std::string text = fmt::format("{} (status {})", meaning, response.status);
  if (std::string words = remark(response.body); !words.empty()) text += ": " + words;
  return Error(code, std::move(text));
}

Attempt Attempt::give_up(Error error) {
  return {Next::kGiveUp, std::unexpected(std::move(error)), {}, false};
}
Attempt Attempt::next_host(Error error) {
  return {Next::kNextHost, std::unexpected(std::move(error)), {}, false};
}
Attempt Attempt::try_later(Error error) {
  return {Next::kTryLater, std::unexpected(std::move(error)), {}, false};
}

Session::Session(std::shared_ptr<Shared> shared, oci::Reference reference, Access access,
                 std::vector<Host> hosts, Scopes scopes)
    : shared_(std::move(shared)),
      reference_(std::move(reference)),
      access_(std::move(access)),
      hosts_(std::move(hosts)),
      scopes_(std::move(scopes)) {}

Session Session::with_scopes(const Scopes& more) const {
  Session session = *this;
  session.scopes_.add(more);
  return session;
}

std::string Session::url(const Host& host, std::string_view rest) const {
  std::string url = fmt::format("{}/{}/{}", host.base, reference_.repository(), rest);
  if (host.ns.empty()) return url;
  return fmt::format("{}{}ns={}", url, url.find('?') == url.npos ? '?' : '&',
                     http::percent_encode(host.ns));
}

http::Request Session::request(const Host& host, std::string method, std::string url) const {
  http::Request request;
  request.method = std::move(method);
  request.url = std::move(url);
  request.headers = host.headers;
  request.tls = host.tls;
  request.timeouts = options().timeouts;
  request.timeouts.connect = std::min(request.timeouts.connect, host.dial_timeout);
  return request;
}

Result<std::optional<Credentials>> Session::credentials(const Host& host) const {
  if (!access_.credentials) return std::nullopt;
  return access_.credentials->get(host.name);
}

Result<http::Response> Session::send(const Context& context, const Host& host,
                                     http::Request request, http::BodySink* sink) const {
  auto known = SKIFF_TRY(credentials(host));
  auto authorization = shared_->tokens.current(host, scopes_, known);
  // A registry may lead an upload to anywhere; what is for the registry goes to it alone.
  bool elsewhere = !same_origin(request.url, host.base);
  if (elsewhere) strip_secrets(request);
  // hosts.toml's own header is all there is.
  bool fixed = elsewhere || request.headers.has("Authorization");
  for (int tries = 0;; ++tries) {
    if (!fixed && !authorization.header.empty())
      request.headers.set({"Authorization", authorization.header, true});
    auto response = shared_->client.perform(context, request, sink);
    count(host, request, response);
    if (!response || response->status != 401 || fixed || tries == 1) return response;
    authorization = SKIFF_TRY(shared_->tokens.renew(
        context, host, scopes_, known, parse_challenges(response->headers), authorization));
  }
}

Attempt Session::judge(const Context& context, const Result<http::Response>& result) const {
  if (auto alive = context.check(); !alive) return Attempt::give_up(std::move(alive).error());
  if (!result) {
    Code code = result.error().code();
    bool transient = code == Code::kUnavailable || code == Code::kDeadlineExceeded;
    return transient ? Attempt::try_later(result.error()) : Attempt::next_host(result.error());
  }
  Error error = status_error(*result);
  if (!is_transient(result->status)) return Attempt::next_host(std::move(error));
  Attempt attempt = Attempt::try_later(std::move(error));
  attempt.retry_after =
      parse_retry_after(result->headers.get("Retry-After"), std::chrono::system_clock::now());
  return attempt;
}

namespace {

// Each host's latest reason, in the hosts' order.
Error summarize(const Session::HostList& hosts, const std::map<const Host*, Error>& reasons) {
  std::string text;
  for (const Host* host : hosts)
    text +=
        fmt::format("{}{}: {}", text.empty() ? "" : "; ", host->name, reasons.at(host).message());
  return Error(reasons.at(hosts.back()).code(), std::move(text));
}

}  // namespace

Session::HostList Session::hosts_that(bool Host::* can) const {
  HostList hosts;
  for (const Host& host : hosts_)
    if (host.*can) hosts.push_back(&host);
  return hosts;
}

Status Session::over_hosts(const Context& context, const HostList& all, const Try& attempt) const {
  if (all.empty())
    return fail(Code::kFailedPrecondition, "no host of {} is configured for this",
                reference_.registry());
  HostList left = all;
  std::map<const Host*, Error> reasons;
  Backoff backoff(options().retry);
  for (;;) {
    std::optional<RetryPolicy::Duration> retry_after;
    for (auto host = left.begin(); host != left.end();) {
      SKIFF_TRY(context.check());
      Attempt result = attempt(**host);
      if (result.progress) backoff.reset();
      if (result.next == Attempt::Next::kDone || result.next == Attempt::Next::kGiveUp)
        return std::move(result.status);
      reasons.insert_or_assign(*host, std::move(result.status).error());
      // The least wait of them: some host may then do.
      if (result.retry_after)
        retry_after = std::min(retry_after.value_or(*result.retry_after), *result.retry_after);
      host = result.next == Attempt::Next::kNextHost ? left.erase(host) : host + 1;
    }
    if (left.empty()) return std::unexpected(summarize(all, reasons));
    auto again = backoff.wait(context, retry_after);
    if (!again)
      return std::unexpected(std::move(again).error().wrap(summarize(all, reasons).message()));
    if (!*again) return std::unexpected(summarize(all, reasons));
  }
}

}  // namespace skiff::registry
