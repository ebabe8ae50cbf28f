#include "http/transfer.h"

#include <algorithm>

#include "base/check.h"

namespace skiff::http {
namespace {

// More than any honest server sends; informational (1xx) responses count as well.
constexpr size_t kMaxHeaderBytes = 256 << 10;
constexpr size_t kMaxErrorBody = 64 << 10;
constexpr size_t kMaxDetail = 200;

std::string_view trim(std::string_view text) {
  auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

double seconds(Transfer::Clock::duration d) { return std::chrono::duration<double>(d).count(); }

}  // namespace

Transfer::Transfer(const Request& request, const Url& url, BodySink* sink)
    : request_(request), url_(url), sink_(sink) {}

Transfer::~Transfer() {
  if (easy_) curl_easy_cleanup(easy_);
  curl_slist_free_all(header_list_);
}

Status Transfer::prepare(const TransferSettings& settings) {
  easy_ = curl_easy_init();
  SKIFF_CHECK(easy_, "out of memory for a libcurl handle");
  auto set = [this](CURLoption option, auto value) {
    CURLcode code = curl_easy_setopt(easy_, option, value);
    SKIFF_CHECK(code == CURLE_OK || code == CURLE_OUT_OF_MEMORY, "libcurl lacks an option we need");
  };
  set(CURLOPT_PRIVATE, this);
  set(CURLOPT_URL, url_.str().c_str());
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_ERRORBUFFER, detail_);
  set(CURLOPT_NOSIGNAL, 1L);
  // Do not join a name look-up's thread when a transfer is cancelled.
  set(CURLOPT_QUICK_EXIT, 1L);
  set(CURLOPT_TCP_NODELAY, 1L);
  set(CURLOPT_BUFFERSIZE, settings.receive_bytes);
  set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(request_.timeouts.connect.count()));
  set(CURLOPT_USERAGENT, settings.user_agent.c_str());
  set(CURLOPT_HTTP_VERSION,
      static_cast<long>(request_.http11_only ? CURL_HTTP_VERSION_1_1 : CURL_HTTP_VERSION_2TLS));
  // Both explicit, so that libcurl does not look into the environment itself.
  set(CURLOPT_PROXY, settings.proxy.c_str());
  set(CURLOPT_NOPROXY, "");
  set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);

  set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  set(CURLOPT_CAINFO, static_cast<char*>(nullptr));
  set(CURLOPT_CAPATH, settings.ca_directory.c_str());
  const Tls& tls = request_.tls;
  if (!tls.ca_pem.empty()) {
    curl_blob blob{const_cast<char*>(tls.ca_pem.data()), tls.ca_pem.size(), CURL_BLOB_NOCOPY};
    set(CURLOPT_CAINFO_BLOB, &blob);
  }
  if (tls.skip_verify) {
    set(CURLOPT_SSL_VERIFYPEER, 0L);
    set(CURLOPT_SSL_VERIFYHOST, 0L);
  }
  if (!tls.client_cert.empty()) {
    set(CURLOPT_SSLCERT, tls.client_cert.c_str());
    set(CURLOPT_SSLKEY, (tls.client_key.empty() ? tls.client_cert : tls.client_key).c_str());
  }

  set(CURLOPT_HEADERFUNCTION, &Transfer::on_header);
  set(CURLOPT_HEADERDATA, this);
  set(CURLOPT_WRITEFUNCTION, &Transfer::on_body);
  set(CURLOPT_WRITEDATA, this);
  set(CURLOPT_PREREQFUNCTION, &Transfer::on_connected);
  set(CURLOPT_PREREQDATA, this);
  if (request_.method == "HEAD") {
    set(CURLOPT_NOBODY, 1L);
  } else if (request_.body) {
    set(CURLOPT_UPLOAD, 1L);
    set(CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(request_.body->size));
    set(CURLOPT_READFUNCTION, &Transfer::on_read);
    set(CURLOPT_READDATA, this);
    set(CURLOPT_SEEKFUNCTION, &Transfer::on_seek);
    set(CURLOPT_SEEKDATA, this);
  }
  if (request_.method != "HEAD") set(CURLOPT_CUSTOMREQUEST, request_.method.c_str());

  // libcurl would wait a second for "100 Continue" from servers that never send it.
  header_list_ = curl_slist_append(nullptr, "Expect:");
  for (const Header& header : request_.headers) {
    std::string line = header.name + (header.value.empty() ? ";" : ": " + header.value);
    if (line.find_first_of(std::string_view("\r\n\0", 3)) != line.npos)
      return fail(Code::kInvalidArgument, "HTTP header {}: line breaks in its value", header.name);
    header_list_ = curl_slist_append(header_list_, line.c_str());
  }
  set(CURLOPT_HTTPHEADER, header_list_);
  return ok();
}

bool Transfer::wait(std::optional<Context::Clock::time_point> deadline) {
  auto done = done_.lock();
  auto is_done = [&] { return *done; };
  if (deadline) return done.wait_until(changed_, std::stop_token(), *deadline, is_done);
  done.wait(changed_, is_done);
  return true;
}

// ---- progress ----

void Transfer::enter(Phase phase) {
  phase_ = phase;
  window_start_ = Clock::now();
  window_bytes_ = 0;
}

Transfer::Clock::duration Transfer::limit() const {
  switch (phase_) {
    // libcurl's own time-out rules; this one only catches what it misses.
    case Phase::kConnecting: return request_.timeouts.connect + std::chrono::seconds(1);
    case Phase::kWaiting: return request_.timeouts.response;
    default: return request_.timeouts.stall_window;
  }
}

Status Transfer::check_progress(Clock::time_point now) {
  if (now < next_check()) return ok();
  if (phase_ == Phase::kConnecting)
    return fail(Code::kDeadlineExceeded, "no connection in {} s", seconds(limit()));
  if (phase_ == Phase::kWaiting)
    return fail(Code::kDeadlineExceeded, "no response in {} s", seconds(limit()));
  if (window_bytes_ < request_.timeouts.stall_bytes)
    return fail(Code::kDeadlineExceeded, "only {} bytes moved in {} s", window_bytes_,
                seconds(limit()));
  window_start_ = now;
  window_bytes_ = 0;
  return ok();
}

int Transfer::on_connected(void* self, char*, char*, int, int) {
  auto* t = static_cast<Transfer*>(self);
  bool sends = t->request_.body && t->request_.body->size > 0;
  t->enter(sends ? Phase::kSending : Phase::kWaiting);
  return CURL_PREREQFUNC_OK;
}

// ---- the request's body ----

// libcurl sends a request again by itself when a kept connection turns out dead. With a body that
// has begun to flow that is the caller's to decide: an upload may have been stored in part.
int Transfer::on_seek(void* self, curl_off_t offset, int origin) {
  auto* t = static_cast<Transfer*>(self);
  bool untouched = t->sent_ == 0 && offset == 0 && origin == SEEK_SET;
  return untouched ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_FAIL;
}

size_t Transfer::on_read(char* buffer, size_t size, size_t count, void* self) {
  auto* t = static_cast<Transfer*>(self);
  if (!t->body_) {
    auto opened = t->request_.body->open();
    if (!opened) {
      t->status_ = std::unexpected(opened.error().wrap("open the body to send"));
      return CURL_READFUNC_ABORT;
    }
    t->body_ = *std::move(opened);
  }
  uint64_t want = t->request_.body->size;
  size_t room = std::min<uint64_t>(size * count, want - t->sent_);
  if (room == 0) return 0;
  auto n = t->body_->read({reinterpret_cast<std::byte*>(buffer), room});
  if (!n) {
    t->status_ = std::unexpected(n.error().wrap("read the body to send"));
    return CURL_READFUNC_ABORT;
  }
  if (*n == 0) {
    t->status_ = fail(Code::kInternal, "the body to send ended at {} of {} bytes", t->sent_, want);
    return CURL_READFUNC_ABORT;
  }
  t->sent_ += *n;
  t->window_bytes_ += *n;
  if (t->sent_ == want) t->enter(Phase::kWaiting);
  return *n;
}

// ---- the response ----

size_t Transfer::on_header(char* data, size_t size, size_t count, void* self) {
  auto* t = static_cast<Transfer*>(self);
  return t->take_header_line({data, size * count}) ? size * count : 0;
}

bool Transfer::take_header_line(std::string_view line) {
  header_bytes_ += line.size();
  if (header_bytes_ > kMaxHeaderBytes) {
    status_ = fail(Code::kUnavailable, "more than {} bytes of response headers", kMaxHeaderBytes);
    return false;
  }
  if (begun_) return true;  // trailers say nothing that we need
  if (phase_ != Phase::kReceiving) enter(Phase::kReceiving);
  window_bytes_ += line.size();
  if (line.starts_with("HTTP/")) {
    response_.headers.clear();
    return true;
  }
  if (size_t colon = line.find(':'); colon != line.npos) {
    response_.headers.add(
        {std::string(trim(line.substr(0, colon))), std::string(trim(line.substr(colon + 1)))});
    return true;
  }
  if (!trim(line).empty()) return true;
  long status = 0;
  curl_easy_getinfo(easy_, CURLINFO_RESPONSE_CODE, &status);
  if (status < 200) {
    enter(Phase::kWaiting);
    return true;
  }
  response_.status = static_cast<int>(status);
  begun_ = true;
  if (sink_ && response_.success()) status_ = sink_->begin(response_);
  return status_.has_value();
}

size_t Transfer::on_body(char* data, size_t size, size_t count, void* self) {
  auto* t = static_cast<Transfer*>(self);
  Bytes bytes{reinterpret_cast<const std::byte*>(data), size * count};
  return t->take_body(bytes) ? bytes.size() : 0;
}

bool Transfer::take_body(Bytes bytes) {
  window_bytes_ += bytes.size();
  if (sink_ && response_.success()) {
    status_ = sink_->write(bytes);
    return status_.has_value();
  }
  bool error = !response_.success();
  size_t most = error ? std::min(kMaxErrorBody, request_.max_body) : request_.max_body;
  size_t room = most - std::min(most, response_.body.size());
  response_.body.append(as_text(bytes.first(std::min(room, bytes.size()))));
  if (bytes.size() <= room) return true;
  enough_ = error;
  if (!error)
    status_ = fail(Code::kResourceExhausted, "the response is larger than {} bytes", most);
  return false;
}

// ---- the end ----

Error Transfer::transport_error(CURLcode code) const {
  std::string_view detail = detail_[0] ? detail_ : curl_easy_strerror(code);
  std::string text(detail.substr(0, kMaxDetail));
  switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
      return Error(Code::kFailedPrecondition,
                   text + "; give the registry's CA in its certs.d directory");
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CIPHER: return Error(Code::kFailedPrecondition, text);
    case CURLE_OPERATION_TIMEDOUT:  // only connecting has libcurl's own time-out
      return Error(Code::kDeadlineExceeded, text);
    default: return Error(Code::kUnavailable, text);
  }
}

void Transfer::finish(CURLcode code) {
  if (!status_) return settle(std::move(status_));  // a callback said why
  if (code == CURLE_OK || (enough_ && code == CURLE_WRITE_ERROR)) return settle(ok());
  settle(std::unexpected(transport_error(code)));
}

void Transfer::fail_with(Error error) { settle(std::unexpected(std::move(error))); }

void Transfer::settle(Status status) {
  status_ = std::move(status);
  // Nothing of ours may be touched once the caller can see `done`: notify inside the lock.
  auto done = done_.lock();
  *done = true;
  changed_.notify_all();
}

}  // namespace skiff::http
