#include "registry/distribution_fetcher.h"

#include <algorithm>
#include <charconv>

#include "base/metrics/metrics.h"

namespace skiff::registry {
namespace {

constexpr std::chrono::seconds kAvoidDownHost{30};
// A host that ends every answer after a few bytes must run out of attempts.
constexpr uint64_t kLeastProgress = 16 << 10;

struct ContentRange {
  uint64_t first = 0;
  uint64_t last = 0;
  std::optional<uint64_t> total;
};

std::optional<uint64_t> take_number(std::string_view& text) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return {};
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return value;
}

bool take(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

// "bytes 0-99/1234" or "bytes 0-99/*" (RFC 9110, 14.4).
std::optional<ContentRange> parse_content_range(std::string_view text) {
  ContentRange range;
  if (!take(text, "bytes ")) return {};
  auto first = take_number(text);
  if (!first || !take(text, "-")) return {};
  auto last = take_number(text);
  if (!last || *last < *first || !take(text, "/")) return {};
  range.first = *first;
  range.last = *last;
  if (text == "*") return range;
  range.total = take_number(text);
  if (!range.total || !text.empty()) return {};
  return range;
}

}  // namespace

// Passes on just the bytes that are still wanted, over as many responses as it takes.
class DistributionFetcher::RangeSink : public http::BodySink {
 public:
  RangeSink(ByteSink& sink, uint64_t size, uint64_t begin, uint64_t end)
      : sink_(sink), size_(size), position_(begin), end_(end) {}

  uint64_t position() const { return position_; }
  uint64_t end() const { return end_; }
  uint64_t left() const { return end_ - position_; }
  bool partial() const { return position_ > 0 || end_ < size_; }
  bool ignored_range() const { return ignored_range_; }
  // The caller's sink failed: nothing more is to be done.
  const std::optional<Error>& sink_error() const { return sink_error_; }
  // The host sent what it must not: nothing of it can be trusted.
  const std::optional<Error>& violation() const { return violation_; }
  // The response was ended here, having given all that was wanted.
  bool cut() const { return cut_; }

  void start_response() {
    skip_ = 0;
    limited_ = cut_ = ignored_range_ = false;
    violation_.reset();
  }

  Status begin(const http::Response& head) override {
    auto length = head.headers.number("Content-Length");
    if (head.status == 206) return check_partial(head);
    if (head.status != 200) return violate("status {} in place of 200", head.status);
    if (length && *length != size_)
      return violate("{} bytes by its Content-Length, {} by its descriptor", *length, size_);
    ignored_range_ = partial();
    skip_ = position_;
    return ok();
  }

  Status write(Bytes bytes) override {
    size_t skipped = std::min<uint64_t>(skip_, bytes.size());
    skip_ -= skipped;
    bytes = bytes.subspan(skipped);
    // What follows the range in a whole blob is no fault.
    bool more_follows = !limited_ && end_ < size_;
    if (bytes.size() > left()) {
      if (!more_follows) return violate("more than the {} bytes asked for", end_);
      bytes = bytes.first(left());
    }
    if (bytes.empty()) return ok();
    if (auto written = sink_.write(bytes); !written) {
      sink_error_ = written.error();
      return written;
    }
    position_ += bytes.size();
    if (left() == 0 && more_follows) {  // an error ends the response
      cut_ = true;
      return fail(Code::kAborted, "enough");
    }
    return ok();
  }

 private:
  Status check_partial(const http::Response& head) {
    auto range = parse_content_range(head.headers.get("Content-Range"));
    if (!range) return violate("a partial response without a good Content-Range");
    if (range->first != position_ || range->last >= end_ || range->total.value_or(size_) != size_)
      return violate("bytes {}-{} of {} in place of {}-{} of {}", range->first, range->last,
                     range->total.value_or(size_), position_, end_ - 1, size_);
    limited_ = true;
    return ok();
  }

  template <typename... Args>
  Status violate(fmt::format_string<Args...> format, Args&&... args) {
    violation_ =
        Error(Code::kDataLoss, "wrong answer: " + fmt::format(format, std::forward<Args>(args)...));
    return std::unexpected(*violation_);
  }

  ByteSink& sink_;
  const uint64_t size_;  // the whole blob's
  uint64_t position_;
  const uint64_t end_;
  uint64_t skip_ = 0;
  bool limited_ = false;  // this response holds a range, not the whole
  bool ignored_range_ = false;
  bool cut_ = false;
  std::optional<Error> sink_error_;
  std::optional<Error> violation_;
};

Status DistributionFetcher::fetch(const Context& context, const oci::Descriptor& descriptor,
                                  Range range, ByteSink& sink) {
  uint64_t size = descriptor.size;
  if (range.offset > size || range.length > size - range.offset)
    return fail(Code::kOutOfRange, "{}: bytes {}+{} of {}", descriptor.digest, range.offset,
                range.length, size);
  uint64_t end = range.length ? range.offset + range.length : size;
  RangeSink part(sink, size, range.offset, end);
  Status status = session_.over_hosts(context, order(descriptor.digest), [&](const Host& host) {
    Attempt attempt = fetch_from(context, host, descriptor, part);
    note_trouble(host, descriptor.digest, attempt);
    return attempt;
  });
  // Layers that may not be redistributed stand elsewhere. Only those: the URLs are whatever the
  // image's author wrote.
  if (!status && status.error().is(Code::kNotFound) &&
      oci::is_non_distributable(descriptor.media_type))
    if (auto elsewhere = fetch_from_urls(context, descriptor, part); elsewhere) status = ok();
  if (part.sink_error()) return std::unexpected(*part.sink_error());
  if (status) return status;
  return std::unexpected(std::move(status).error().wrap(
      fmt::format("fetch {} of {}", descriptor.digest, session_.reference().name())));
}

Session::HostList DistributionFetcher::order(const Digest& digest) const {
  Session::HostList hosts = session_.hosts_that(&Host::pull);
  auto now = Context::Clock::now();
  auto trouble = trouble_.lock();
  std::stable_partition(hosts.begin(), hosts.end(), [&](const Host* host) {
    auto down = trouble->down_until.find(host);
    if (down != trouble->down_until.end() && now < down->second) return false;
    return !trouble->lacks.contains({host, digest});
  });
  return hosts;
}

void DistributionFetcher::note_trouble(const Host& host, const Digest& digest,
                                       const Attempt& attempt) {
  auto trouble = trouble_.lock();
  if (attempt.next == Attempt::Next::kDone || attempt.progress)
    trouble->down_until.erase(&host);
  else if (attempt.next == Attempt::Next::kTryLater)
    trouble->down_until[&host] = Context::Clock::now() + kAvoidDownHost;
  else if (attempt.next == Attempt::Next::kNextHost)
    trouble->lacks.emplace(&host, digest);
}

Attempt DistributionFetcher::fetch_from(const Context& context, const Host& host,
                                        const oci::Descriptor& descriptor, RangeSink& sink) {
  bool manifest = oci::is_index(descriptor.media_type) || oci::is_manifest(descriptor.media_type);
  std::string_view kind = manifest ? "manifests" : "blobs";
  http::Request request = session_.request(
      host, "GET", session_.url(host, fmt::format("{}/{}", kind, descriptor.digest)));
  request.http11_only = !manifest;
  request.headers.set({"Accept", manifest ? descriptor.media_type + ", */*;q=0.1" : "*/*"});
  if (sink.partial())
    request.headers.set({"Range", fmt::format("bytes={}-{}", sink.position(), sink.end() - 1)});
  uint64_t before = sink.position();
  sink.start_response();
  auto response = session_.send(context, host, std::move(request), &sink);
  return settle(context, sink, before, response);
}

Attempt DistributionFetcher::settle(const Context& context, RangeSink& sink, uint64_t before,
                                    const Result<http::Response>& response) {
  static metrics::Counter& bytes = metrics::counter(
      "skiff_registry_fetched_bytes_total", "Bytes of blobs and manifests taken from registries");
  bytes.increment(static_cast<double>(sink.position() - before));
  if (sink.ignored_range()) ranges_ = false;
  if (sink.sink_error()) return Attempt::give_up(*sink.sink_error());
  if (sink.violation()) return Attempt::next_host(*sink.violation());
  bool complete = sink.cut() || (response && response->success());
  if (complete && sink.left() == 0) return Attempt::done();
  Attempt attempt;
  if (response && response->success())
    attempt = Attempt::try_later(
        Error(Code::kDataLoss, fmt::format("the answer ended {} bytes early", sink.left())));
  else
    attempt = session_.judge(context, response);
  attempt.progress = sink.position() - before >= kLeastProgress;
  return attempt;
}

Status DistributionFetcher::fetch_from_urls(const Context& context,
                                            const oci::Descriptor& descriptor, RangeSink& sink) {
  Status status = fail(Code::kNotFound, "no URL");
  for (const std::string& url : descriptor.urls) {
    // Anonymous, with the system's trust only: the URL is the image author's word.
    Host host;
    host.base = url;
    host.name = "image URL";
    http::Request request = session_.request(host, "GET", url);
    request.http11_only = true;
    if (sink.partial())
      request.headers.set({"Range", fmt::format("bytes={}-{}", sink.position(), sink.end() - 1)});
    uint64_t before = sink.position();
    sink.start_response();
    Attempt attempt =
        settle(context, sink, before, session_.send_anonymous(context, request, &sink));
    status = std::move(attempt.status);
    if (status || attempt.next == Attempt::Next::kGiveUp) return status;
  }
  return status;
}

}  // namespace skiff::registry
