// A registry in the test's own process (distribution specification 1.1: pull, push, mounts), on
// 127.0.0.1. It can be asked to misbehave, path by path, and counts what it served.
//
//   FakeRegistry registry;
//   std::string layer = registry.add_blob(bytes);
//   registry.add_manifest("app", "latest", manifest, type);
//   registry.inject({.path = "/blobs/" + layer, .times = 1, .reset_after = 1000});
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "tests/lib/http_server.h"

namespace skiff::testing {

// "sha256:" and hex, computed apart from the code under test.
std::string sha256_of(std::string_view bytes);

// What happens to the next requests whose method and path match. At most one is used for a request:
// the first that matches and has some times left.
struct Fault {
  std::string method;  // empty: any
  std::string path;    // what the path ends with ("/manifests/latest", a digest); empty: any
  int skip = 0;        // so many matching requests go well first
  int times = 1;       // -1: for ever

  // Instead of the answer:
  bool hang = false;
  bool reset = false;
  std::optional<int> status = std::nullopt;  // with `headers` and `body`
  HeaderList headers = {};
  std::string body = {};
  std::string redirect = {};  // 307 to there
  std::function<void(Exchange&)> custom = nullptr;

  // Of a blob's or manifest's answer:
  std::optional<uint64_t> reset_after = std::nullopt;  // RST after so many bytes of the body
  std::optional<uint64_t> close_after = std::nullopt;  // FIN
  std::optional<uint64_t> hang_after = std::nullopt;
  std::chrono::milliseconds drip{0};  // a byte each
  bool ignore_range = false;          // 200 and the whole
  int64_t shift_range = 0;            // serves (and says) other bytes than were asked for
  std::string content_range = {};     // says that, serves what was asked for
  std::optional<uint64_t> content_length = std::nullopt;
  std::optional<std::string> content_type = std::nullopt;
  std::optional<std::string> content_digest = std::nullopt;  // Docker-Content-Digest
  bool chunked = false;                                      // without a Content-Length
  std::string append = {};                                   // after the true body
  bool corrupt = false;                                      // the last byte is another

  // Of an upload: keeps so many bytes of what was sent, then RST.
  std::optional<uint64_t> keep_of_upload = std::nullopt;
};

class FakeRegistry {
 public:
  enum class Auth { kNone, kBasic, kBearer };
  struct Options {
    Auth auth = Auth::kNone;
    std::string username = "user", password = "secret";
    // Bearer: no credentials are needed to pull.
    bool anonymous_pull = false;
    std::string identity_token = "refresh-me";
    // Tokens by POST only.
    bool oauth_only = false;
    int expires_in = 300;
    ServerTls tls = {};
  };

  FakeRegistry() : FakeRegistry(Options()) {}
  explicit FakeRegistry(Options options);
  ~FakeRegistry();

  std::string host() const { return server_->host(); }  // "127.0.0.1:41234"
  std::string url() const { return server_->url(); }

  // Blobs are there for every repository. Returns the digest.
  std::string add_blob(std::string bytes);
  // Under its digest, and under the tag unless that is empty. Returns the digest.
  std::string add_manifest(const std::string& repository, const std::string& tag, std::string bytes,
                           const std::string& media_type);
  // An image manifest of these blobs (which are added), tagged. Returns the manifest's digest.
  std::string add_image(const std::string& repository, const std::string& tag,
                        const std::string& config, const std::vector<std::string>& layers);

  void inject(Fault fault);
  void clear_faults();
  // Every token that was given out is refused from now on.
  void revoke_tokens();
  void set_password(std::string password);

  struct Seen {
    std::string method, path, target;
    std::map<std::string, std::string> headers;
    int connection = 0;
  };
  std::vector<Seen> seen() const;
  // Requests with that method (empty: any) whose path ends so.
  int count(const std::string& method, const std::string& path_end) const;
  // Bytes of bodies sent for GETs of a blob or manifest with that digest.
  uint64_t bytes_served(const std::string& digest) const;

  // What was pushed: empty when it is not there.
  std::string blob(const std::string& digest) const;
  std::string manifest(const std::string& repository, const std::string& object) const;

 private:
  struct Document {
    std::string bytes, media_type;
  };
  struct State {
    std::map<std::string, std::string> blobs;
    std::map<std::string, Document> manifests;   // "repository@object"
    std::map<std::string, std::string> uploads;  // bytes so far
    std::vector<Fault> faults;
    std::vector<Seen> seen;
    std::map<std::string, uint64_t> bytes;
    std::map<std::string, std::string> tokens;  // token -> scopes
    int next_id = 0;
  };

  void handle(Exchange& exchange);
  std::optional<Fault> take_fault(const HttpRequest& request);
  bool answer_fault(Exchange& exchange, const Fault& fault);
  bool authorized(const HttpRequest& request, const std::string& repository);
  void challenge(Exchange& exchange, const std::string& repository);
  void token(Exchange& exchange);
  void get_blob(Exchange& exchange, const std::string& digest, const Fault& fault);
  void get_manifest(Exchange& exchange, const std::string& repository, const std::string& object,
                    const Fault& fault);
  void put_manifest(Exchange& exchange, const std::string& repository, const std::string& object);
  void start_upload(Exchange& exchange, const std::string& repository);
  void continue_upload(Exchange& exchange, const std::string& repository, const std::string& id,
                       const Fault& fault);
  void serve(Exchange& exchange, const std::string& bytes, HeaderList headers,
             const std::string& digest, const Fault& fault);
  void note_served(const std::string& digest, uint64_t bytes);

  Options options_;
  mutable std::mutex mutex_;
  State state_;
  std::unique_ptr<HttpServer> server_;  // last: it stops first
};

}  // namespace skiff::testing
