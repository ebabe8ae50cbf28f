#include "http/client.h"

#include <curl/curl.h>

#include <algorithm>
#include <set>
#include <stop_token>
#include <vector>

#include "base/check.h"
#include "base/log.h"
#include "base/metrics/metrics.h"
#include "http/loop.h"

namespace skiff::http {
namespace {

void initialize_libcurl() {
  static const CURLcode code = curl_global_init(CURL_GLOBAL_ALL);
  SKIFF_CHECK(code == CURLE_OK, "libcurl cannot start");
}

bool is_redirect(const Response& response) {
  int s = response.status;
  bool moved = s == 301 || s == 302 || s == 303 || s == 307 || s == 308;
  return moved && response.headers.has("Location");
}

// The request that a redirect asks for (RFC 9110, 15.4).
void follow(Request& request, int status, const Url& from, const Url& to) {
  bool keeps_method = status == 307 || status == 308 || request.method == "HEAD";
  if (!keeps_method && request.method != "GET") {
    request.method = "GET";
    request.body.reset();
    request.headers.remove("Content-Type");
  }
  if (!to.same_origin(from)) {
    request.headers.remove_sensitive();
    request.tls.client_cert.clear();
    request.tls.client_key.clear();
  }
}

void count(const Request& request, const Url& url, const Result<Response>& response,
           Transfer::Clock::duration took) {
  std::string outcome =
      response ? fmt::format("{}xx", response->status / 100) : std::string("error");
  metrics::counter("skiff_http_requests_total", "HTTP requests sent, by method and outcome",
                   {{"method", request.method}, {"outcome", outcome}})
      .increment();
  if (!log::enabled(log::Level::kDebug)) return;
  double seconds = std::chrono::duration<double>(took).count();
  log::debug("http request", {{"method", request.method},
                              {"url", url.display()},
                              {"outcome", response ? fmt::format("{}", response->status)
                                                   : response.error().message()},
                              {"seconds", seconds}});
}

}  // namespace

struct Client::Impl {
  explicit Impl(Options o) : options(std::move(o)) {
    for (int i = 0; i < std::max(options.io_threads, 1); ++i)
      loops.push_back(std::make_unique<Loop>(fmt::format("http-io-{}", i), options.idle));
  }

  // Ties go to the first, so that requests one after another share its kept connections.
  Loop& least_busy() {
    return **std::min_element(loops.begin(), loops.end(),
                              [](auto& a, auto& b) { return a->load() < b->load(); });
  }

  Result<Response> exchange(const Context& context, const Request& request, const Url& url,
                            BodySink* sink);

  Options options;
  std::vector<std::unique_ptr<Loop>> loops;
};

Client::Client(Options options) {
  initialize_libcurl();
  impl_ = std::make_unique<Impl>(std::move(options));
}

Client::~Client() = default;

// One request and its response, whatever that is.
Result<Response> Client::Impl::exchange(const Context& context, const Request& request,
                                        const Url& url, BodySink* sink) {
  SKIFF_TRY(context.check());
  Transfer transfer(request, url, sink);
  ProxyRules rules = options.proxies ? *options.proxies : ProxyRules::from_environment();
  SKIFF_TRY(transfer.prepare(
      {options.receive_bytes, options.user_agent, options.ca_directory, rules.proxy_for(url)}));
  Loop& loop = least_busy();
  loop.submit(transfer);
  auto cancel = [&] {
    transfer.cancel();
    loop.wake();
  };
  {
    std::stop_callback on_stop(context.stop_token(), cancel);
    if (!transfer.wait(context.deadline())) {
      cancel();
      transfer.wait({});
    }
  }
  Status status = transfer.take_status();
  if (!status && status.error().is(Code::kCanceled)) SKIFF_TRY(context.check());
  SKIFF_TRY(std::move(status));
  Response response = transfer.take_response();
  response.url = url.str();
  return response;
}

Result<Response> Client::perform(const Context& context, const Request& original, BodySink* sink) {
  Url url = SKIFF_TRY(Url::parse(original.url));
  Request request = original;
  std::set<std::string> visited;
  for (;;) {
    auto start = Transfer::Clock::now();
    auto response = impl_->exchange(context, request, url, sink);
    count(request, url, response, Transfer::Clock::now() - start);
    if (!response)
      return std::unexpected(
          std::move(response).error().wrap(fmt::format("{} {}", request.method, url.display())));
    if (!is_redirect(*response)) return response;

    visited.insert(request.method + " " + url.str());
    Url next = SKIFF_TRY_WRAP(url.resolve(response->headers.get("Location")), "redirect from {}",
                              url.display());
    follow(request, response->status, url, next);
    if (visited.contains(request.method + " " + next.str()))
      return fail(Code::kFailedPrecondition, "{} {}: redirected in a loop, back to {}",
                  request.method, url.display(), next.display());
    if (static_cast<int>(visited.size()) > original.max_redirects)
      return fail(Code::kFailedPrecondition, "{} {}: more than {} redirects", original.method,
                  url.display(), original.max_redirects);
    url = std::move(next);
  }
}

}  // namespace skiff::http
