// One exchange on a libcurl easy handle, without redirects. Internal to http/.
//
// Made and awaited by the caller's thread; between Loop::submit and finished() everything but
// cancel() and wait() belongs to the loop's thread.
#pragma once

#include <curl/curl.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <optional>
#include <string>

#include "base/context.h"
#include "base/guarded.h"
#include "http/message.h"
#include "http/url.h"

namespace skiff::http {

struct TransferSettings {
  long receive_bytes;
  const std::string& user_agent;
  const std::string& ca_directory;
  std::string proxy;
};

class Transfer {
 public:
  using Clock = std::chrono::steady_clock;

  // Everything given must outlive the transfer.
  Transfer(const Request& request, const Url& url, BodySink* sink);
  ~Transfer();

  // Sets the easy handle up.
  Status prepare(const TransferSettings& settings);
  CURL* easy() const { return easy_; }

  // The caller's side.
  void cancel() { cancelled_ = true; }
  // Waits until the loop is through with the transfer, until `deadline` at most.
  bool wait(std::optional<Context::Clock::time_point> deadline);
  Response take_response() { return std::move(response_); }
  Status take_status() { return std::move(status_); }

  // The loop's side.
  bool cancelled() const { return cancelled_; }
  void started(Clock::time_point now) { window_start_ = now; }
  // An error when the peer has been too slow; to be asked by next_check() at the latest.
  Status check_progress(Clock::time_point now);
  Clock::time_point next_check() const { return window_start_ + limit(); }
  // The loop itself was held up for that long: it says nothing about the peer.
  void excuse(Clock::duration lost) { window_start_ += lost; }
  void finish(CURLcode code);
  void fail_with(Error error);

 private:
  enum class Phase { kConnecting, kSending, kWaiting, kReceiving };

  static size_t on_header(char* data, size_t size, size_t count, void* self);
  static size_t on_body(char* data, size_t size, size_t count, void* self);
  static size_t on_read(char* buffer, size_t size, size_t count, void* self);
  static int on_seek(void* self, curl_off_t offset, int origin);
  static int on_connected(void* self, char*, char*, int, int);

  bool take_header_line(std::string_view line);
  bool take_body(Bytes bytes);
  void enter(Phase phase);
  Clock::duration limit() const;
  Error transport_error(CURLcode code) const;
  void settle(Status status);

  const Request& request_;
  const Url& url_;
  BodySink* sink_;
  CURL* easy_ = nullptr;
  curl_slist* header_list_ = nullptr;
  char detail_[CURL_ERROR_SIZE] = {};

  Response response_;
  Status status_;        // set by callbacks that abort, then by settle
  bool begun_ = false;   // the final response's headers are complete
  bool enough_ = false;  // we ended the body on purpose
  size_t header_bytes_ = 0;
  std::unique_ptr<ByteSource> body_;
  uint64_t sent_ = 0;

  Phase phase_ = Phase::kConnecting;
  Clock::time_point window_start_;
  uint64_t window_bytes_ = 0;  // moved in this window, either way

  std::atomic<bool> cancelled_ = false;
  Guarded<bool> done_{false};
  std::condition_variable_any changed_;
};

}  // namespace skiff::http
