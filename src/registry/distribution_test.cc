// Pulling over HTTP from a registry that is good, bad or gone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "registry/distribution.h"
#include "tests/lib/fake_registry.h"
#include "tests/lib/temp_dir.h"
#include "tests/lib/test_tls.h"

namespace skiff::registry {
namespace {

using testing::FakeRegistry;
using testing::Fault;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::TempDir;
using namespace std::chrono_literals;

constexpr char kManifestType[] = "application/vnd.oci.image.manifest.v1+json";

std::string random_bytes(size_t size) {
  std::string bytes(size, '\0');
  uint32_t state = 12345;
  for (char& c : bytes) c = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  return bytes;
}

class DistributionTest : public ::testing::Test {
 protected:
  static http::Client::Options client_options() {
    http::Client::Options options;
    options.proxies = http::ProxyRules{};
    return options;
  }
  DistributionOptions options() {
    DistributionOptions options;
    options.hosts_directories = {dir_.path()};
    options.timeouts = {2000ms, 2000ms, 2000ms, 1};
    options.retry = {3, 1ms, 4ms, 200ms};
    return options;
  }
  void start(FakeRegistry::Options fake = {}) {
    registry_ = std::make_unique<FakeRegistry>(fake);
    resolver_ = make_distribution_resolver(client_, options());
    digest_ = registry_->add_blob(blob_);
    manifest_ = R"({"schemaVersion":2,"mediaType":")" + std::string(kManifestType) + "\"}";
    manifest_digest_ = registry_->add_manifest("app", "1", manifest_, kManifestType);
  }
  void SetUp() override { start(); }

  oci::Reference reference(const std::string& rest) {
    return *oci::Reference::parse(registry_->host() + "/" + rest);
  }
  oci::Descriptor blob() {
    oci::Descriptor descriptor;
    descriptor.media_type = oci::media_type::kOciLayerGzip;
    descriptor.digest = *Digest::parse(digest_);
    descriptor.size = blob_.size();
    return descriptor;
  }
  Result<std::string> fetch(Range range = {}, const Context& context = Context()) {
    auto fetcher = resolver_->fetcher(context, reference("app:1"), access_);
    if (!fetcher) return std::unexpected(fetcher.error());
    StringSink sink;
    Status status = (*fetcher)->fetch(context, blob(), range, sink);
    supports_ranges_ = (*fetcher)->supports_ranges();
    partial_ = sink.take();
    if (!status) return std::unexpected(status.error());
    return partial_;
  }
  Error fetch_error(Range range = {}) {
    auto bytes = fetch(range);
    EXPECT_FALSE(bytes);
    return bytes ? Error(Code::kOk, "") : bytes.error();
  }
  Error resolve_error(const std::string& rest = "app:1") {
    auto resolved = resolver_->resolve(Context(), reference(rest), access_);
    EXPECT_FALSE(resolved);
    return resolved ? Error(Code::kOk, "") : resolved.error();
  }
  // Sends what is for the fake registry first to these mirrors.
  void use_mirrors(const std::vector<std::string>& urls) {
    std::string text = "server = \"" + registry_->url() + "\"\n";
    for (auto& url : urls) text += "[host.\"" + url + "\"]\n";
    dir_.write(registry_->host() + "/hosts.toml", text);
  }
  void user(const std::string& password) {
    access_.credentials = fixed_credentials("", {.username = "user", .password = password});
  }

  TempDir dir_;
  http::Client client_{client_options()};
  std::string blob_ = random_bytes(300'000);
  std::string digest_, manifest_, manifest_digest_;
  std::unique_ptr<FakeRegistry> registry_;
  std::unique_ptr<Resolver> resolver_;
  Access access_;
  bool supports_ranges_ = false;
  std::string partial_;
};

// ---- resolving ----

TEST_F(DistributionTest, ResolvesATag) {
  auto resolved = resolver_->resolve(Context(), reference("app:1"), access_);
  ASSERT_TRUE(resolved) << resolved.error().message();
  EXPECT_EQ(resolved->descriptor.digest.str(), manifest_digest_);
  EXPECT_EQ(resolved->descriptor.size, manifest_.size());
  EXPECT_EQ(resolved->descriptor.media_type, kManifestType);
  EXPECT_EQ(resolved->host, registry_->host());
  StringSink sink;
  ASSERT_TRUE(resolved->fetcher->fetch(Context(), resolved->descriptor, {}, sink));
  EXPECT_EQ(sink.take(), manifest_);
}

TEST_F(DistributionTest, TheDigestOfATaggedReferenceDecides) {
  std::string old = registry_->add_manifest("app", "", manifest_ + " ", kManifestType);
  auto resolved = resolver_->resolve(Context(), reference("app:1@" + old), access_);
  ASSERT_TRUE(resolved) << resolved.error().message();
  EXPECT_EQ(resolved->descriptor.digest.str(), old);
}

TEST_F(DistributionTest, GetsWhenHeadDoesNotTell) {
  registry_->inject({.method = "HEAD", .path = "/manifests/1", .content_digest = ""});
  auto resolved = resolver_->resolve(Context(), reference("app:1"), access_);
  ASSERT_TRUE(resolved) << resolved.error().message();
  EXPECT_EQ(resolved->body, manifest_);
  registry_->inject({.method = "HEAD", .path = "/manifests/1", .status = 405});
  ASSERT_TRUE(resolver_->resolve(Context(), reference("app:1"), access_));
  registry_->inject({.path = "/manifests/1", .times = 2, .content_type = "application/json"});
  resolved = resolver_->resolve(Context(), reference("app:1"), access_);
  ASSERT_TRUE(resolved) << resolved.error().message();
  EXPECT_EQ(resolved->descriptor.media_type, kManifestType) << "from the document itself";
}

TEST_F(DistributionTest, RefusesWrongDigestsAndTypes) {
  registry_->inject({.path = "/manifests/1", .times = 2, .content_type = "text/html"});
  Error html = resolve_error();
  EXPECT_EQ(html.code(), Code::kDataLoss);
  EXPECT_THAT(html.message(), HasSubstr("text/html"));

  registry_->clear_faults();
  registry_->inject({.method = "HEAD", .path = "/manifests/1", .status = 405});
  registry_->inject({.method = "GET", .path = "/manifests/1", .corrupt = true});
  Error corrupt = resolve_error();
  EXPECT_EQ(corrupt.code(), Code::kDataLoss);
  EXPECT_THAT(corrupt.message(), HasSubstr("in place of " + manifest_digest_));

  std::string other = "sha256:" + std::string(64, 'a');
  registry_->inject({.path = manifest_digest_, .content_digest = other});
  Error swapped = resolve_error("app@" + manifest_digest_);
  EXPECT_EQ(swapped.code(), Code::kDataLoss);
  EXPECT_THAT(swapped.message(), HasSubstr(other));
}

TEST_F(DistributionTest, RefusesManifestsOverFourMebibytes) {
  std::string huge = manifest_ + std::string(oci::kMaxManifestBytes, ' ');
  registry_->add_manifest("app", "huge", huge, kManifestType);
  EXPECT_EQ(resolve_error("app:huge").code(), Code::kResourceExhausted);
  registry_->inject({.method = "HEAD", .path = "/manifests/huge", .status = 405});
  EXPECT_EQ(resolve_error("app:huge").code(), Code::kResourceExhausted);
}

TEST_F(DistributionTest, SaysWhatIsNotThere) {
  Error missing = resolve_error("app:2");
  EXPECT_EQ(missing.code(), Code::kNotFound);
  EXPECT_THAT(missing.message(), HasSubstr("app:2"));
  EXPECT_THAT(missing.message(), HasSubstr("not found"));
  registry_->inject({.path = "/manifests/1", .status = 403});
  EXPECT_EQ(resolve_error().code(), Code::kPermissionDenied);
}

TEST_F(DistributionTest, AnUnreachableRegistryIsUnavailable) {
  oci::Reference gone = reference("app:1");
  registry_.reset();
  auto resolved = resolver_->resolve(Context(), gone, access_);
  ASSERT_FALSE(resolved);
  EXPECT_EQ(resolved.error().code(), Code::kUnavailable);
}

// ---- mirrors ----

TEST_F(DistributionTest, MirrorsInOrderWithFallBack) {
  FakeRegistry empty, busy, good;
  good.add_manifest("app", "1", manifest_, kManifestType);
  busy.inject({.times = -1, .status = 503});
  std::string gone;
  {
    gone = FakeRegistry().url();
  }
  use_mirrors({gone, empty.url(), busy.url(), good.url()});
  auto resolved = resolver_->resolve(Context(), reference("app:1"), access_);
  ASSERT_TRUE(resolved) << resolved.error().message();
  EXPECT_EQ(resolved->host, good.host());
  EXPECT_EQ(empty.count("HEAD", "/manifests/1"), 1);
  EXPECT_EQ(busy.count("HEAD", "/manifests/1"), 1) << "the next mirror comes before a retry";
  EXPECT_EQ(registry_->count("", "/manifests/1"), 0);
  EXPECT_THAT(good.seen().at(0).target, HasSubstr("ns=127.0.0.1%3A"));

  // The blob is only at the registry itself.
  StringSink sink;
  ASSERT_TRUE(resolved->fetcher->fetch(Context(), blob(), {}, sink));
  EXPECT_EQ(sink.take(), blob_);
  EXPECT_THAT(registry_->seen().at(0).target, Not(HasSubstr("ns=")));
  // The next piece of it does not ask the mirrors again.
  int before = good.count("GET", digest_);
  ASSERT_TRUE(resolved->fetcher->fetch(Context(), blob(), {10, 10}, sink));
  EXPECT_EQ(good.count("GET", digest_), before);
  EXPECT_EQ(sink.take(), blob_.substr(10, 10));
}

TEST_F(DistributionTest, EveryHostsReasonIsInTheError) {
  FakeRegistry mirror;
  use_mirrors({mirror.url()});
  registry_->inject({.times = -1, .status = 403});
  Error error = resolve_error();
  EXPECT_EQ(error.code(), Code::kPermissionDenied) << "as the last host said";
  EXPECT_THAT(error.message(), HasSubstr(mirror.host() + ": not found"));
  EXPECT_THAT(error.message(), HasSubstr(registry_->host() + ": access denied"));
}

TEST_F(DistributionTest, CredentialsGoToTheirOwnHostOnly) {
  FakeRegistry::Options basic;
  basic.auth = FakeRegistry::Auth::kBasic;
  start(basic);
  FakeRegistry mirror(basic);
  use_mirrors({mirror.url()});
  access_.credentials =
      fixed_credentials(registry_->host(), {.username = "user", .password = "secret"});
  auto resolved = resolver_->resolve(Context(), reference("app:1"), access_);
  ASSERT_TRUE(resolved) << resolved.error().message();
  for (auto& request : mirror.seen()) EXPECT_FALSE(request.headers.contains("authorization"));
}

// ---- fetching ----

TEST_F(DistributionTest, FetchesWholeAndRanges) {
  EXPECT_EQ(*fetch(), blob_);
  EXPECT_EQ(*fetch({100, 1000}), blob_.substr(100, 1000));
  EXPECT_EQ(*fetch({299'999, 0}), blob_.substr(299'999));
  EXPECT_EQ(fetch_error({300'000, 1}).code(), Code::kOutOfRange);
  EXPECT_TRUE(supports_ranges_);
}

TEST_F(DistributionTest, FetchesAnEmptyBlob) {
  blob_.clear();
  digest_ = registry_->add_blob("");
  EXPECT_EQ(*fetch(), "");
  EXPECT_EQ(registry_->count("GET", digest_), 1) << "access is proved all the same";
}

TEST_F(DistributionTest, ResumesAfterResetsWhereItStood) {
  registry_->inject({.path = digest_, .times = 5, .reset_after = 50'000});
  auto bytes = fetch();
  ASSERT_TRUE(bytes) << bytes.error().message();
  EXPECT_EQ(*bytes, blob_);
  EXPECT_GT(registry_->count("GET", digest_), 3) << "progress renews the attempts";
  // What the kernel had not yet handed over when the reset came is sent again; nothing else.
  EXPECT_LE(registry_->bytes_served(digest_), blob_.size() + 5 * 50'000);
}

TEST_F(DistributionTest, ResumesAfterAnEarlyEnd) {
  registry_->inject({.path = digest_, .times = 2, .close_after = 100'000});
  EXPECT_EQ(*fetch(), blob_);
  EXPECT_EQ(registry_->bytes_served(digest_), blob_.size());
  registry_->inject({.path = digest_, .close_after = 100'000, .chunked = true});
  EXPECT_EQ(*fetch(), blob_);
}

TEST_F(DistributionTest, AMirrorThatBreaksIsTakenOverFrom) {
  FakeRegistry mirror;
  mirror.add_blob(blob_);
  mirror.inject({.path = digest_, .close_after = 100'000});
  use_mirrors({mirror.url()});
  EXPECT_EQ(*fetch(), blob_);
  EXPECT_EQ(registry_->bytes_served(digest_), blob_.size() - 100'000);
}

TEST_F(DistributionTest, HangsAndDripsEnd) {
  DistributionOptions impatient = options();
  impatient.timeouts = {2000ms, 100ms, 100ms, 1000};
  impatient.retry.attempts = 2;
  resolver_ = make_distribution_resolver(client_, impatient);
  registry_->inject({.path = digest_, .times = -1, .hang = true});
  Error hang = fetch_error();
  EXPECT_EQ(hang.code(), Code::kDeadlineExceeded);
  EXPECT_THAT(hang.message(), HasSubstr("no response in 0.1 s"));
  EXPECT_EQ(registry_->count("GET", digest_), 2);

  registry_->clear_faults();
  impatient.retry.attempts = 20;  // a busy machine may look like a slow registry
  resolver_ = make_distribution_resolver(client_, impatient);
  registry_->inject({.path = digest_, .drip = 5ms});
  auto after_drip = fetch();
  ASSERT_TRUE(after_drip) << after_drip.error().message();
  EXPECT_EQ(*after_drip, blob_);
  registry_->inject({.path = digest_, .hang_after = 1000});
  EXPECT_EQ(*fetch(), blob_);
}

TEST_F(DistributionTest, AFewBytesAreNoProgress) {
  registry_->inject({.path = digest_, .times = -1, .close_after = 10});
  Error error = fetch_error();
  EXPECT_EQ(error.code(), Code::kUnavailable);
  EXPECT_EQ(registry_->count("GET", digest_), 3);
}

TEST_F(DistributionTest, TwoHundredToARangeIsServedOnce) {
  registry_->inject({.path = digest_, .times = -1, .ignore_range = true});
  EXPECT_EQ(*fetch({1000, 2000}), blob_.substr(1000, 2000));
  EXPECT_FALSE(supports_ranges_);
  EXPECT_EQ(*fetch({299'000, 1000}), blob_.substr(299'000));
  EXPECT_FALSE(supports_ranges_);
  EXPECT_EQ(*fetch({0, 10}), blob_.substr(0, 10));
  EXPECT_EQ(registry_->count("GET", digest_), 3);
}

TEST_F(DistributionTest, WrongRangesAreRefused) {
  registry_->inject({.path = digest_, .shift_range = 7});
  EXPECT_EQ(fetch_error({1000, 2000}).code(), Code::kDataLoss);
  EXPECT_EQ(partial_, "");
  for (const char* range : {"bytes 1000-2999/400000", "bytes 1000-9999/300000", "1000-2999/300000",
                            "bytes 1000-999/300000", "bytes */300000", "bytes 1000-2999/300000x"}) {
    registry_->inject({.path = digest_, .content_range = range});
    Error error = fetch_error({1000, 2000});
    EXPECT_EQ(error.code(), Code::kDataLoss) << range;
    EXPECT_EQ(partial_, "");
  }
  registry_->inject({.path = digest_, .content_range = "bytes 1000-2999/*"});
  EXPECT_EQ(*fetch({1000, 2000}), blob_.substr(1000, 2000));
}

TEST_F(DistributionTest, WrongLengthsAreRefused) {
  registry_->inject({.path = digest_, .content_length = 299'999});
  Error shorter = fetch_error();
  EXPECT_EQ(shorter.code(), Code::kDataLoss);
  EXPECT_THAT(shorter.message(), HasSubstr("299999 bytes by its Content-Length"));
  registry_->inject({.path = digest_, .chunked = true, .append = "more"});
  EXPECT_EQ(fetch_error().code(), Code::kDataLoss);
  EXPECT_LE(partial_.size(), blob_.size()) << "never more than the descriptor's size";
  registry_->inject({.path = digest_, .status = 204});
  EXPECT_EQ(fetch_error().code(), Code::kDataLoss);
}

TEST_F(DistributionTest, StatusesBecomeCodes) {
  registry_->inject({.path = digest_, .status = 403});
  EXPECT_EQ(fetch_error().code(), Code::kPermissionDenied);
  registry_->inject({.path = digest_,
                     .status = 404,
                     .body = R"({"errors":[{"code":"BLOB_UNKNOWN","message":"no such\nblob"}]})"});
  Error missing = fetch_error();
  EXPECT_EQ(missing.code(), Code::kNotFound);
  EXPECT_THAT(missing.message(), HasSubstr("BLOB_UNKNOWN: no such blob"));
  registry_->inject({.path = digest_, .status = 401});
  EXPECT_EQ(fetch_error().code(), Code::kUnauthenticated);
  registry_->inject({.path = digest_, .status = 418});
  EXPECT_EQ(fetch_error().code(), Code::kUnavailable);
}

TEST_F(DistributionTest, BusyRegistriesAreAskedAgain) {
  registry_->inject({.path = digest_, .status = 429, .headers = {{"Retry-After", "0"}}});
  registry_->inject({.path = digest_, .status = 500});
  EXPECT_EQ(*fetch(), blob_);
  EXPECT_EQ(registry_->count("GET", digest_), 3);

  registry_->inject({.path = digest_, .times = -1, .status = 503});
  Error error = fetch_error();
  EXPECT_EQ(error.code(), Code::kUnavailable);
  EXPECT_EQ(registry_->count("GET", digest_), 6) << "three attempts";
}

TEST_F(DistributionTest, ALongRetryAfterIsNotWaitedFor) {
  registry_->inject(
      {.path = digest_, .times = -1, .status = 429, .headers = {{"Retry-After", "3600"}}});
  Error error = fetch_error();
  EXPECT_EQ(error.code(), Code::kUnavailable);
  EXPECT_THAT(error.message(), HasSubstr("too many requests"));
  EXPECT_EQ(registry_->count("GET", digest_), 1);
}

TEST_F(DistributionTest, TheSinksErrorComesBackUnchanged) {
  struct Full : ByteSink {
    Status write(Bytes) override { return fail(Code::kResourceExhausted, "disk full"); }
  } sink;
  auto fetcher = resolver_->fetcher(Context(), reference("app:1"), access_);
  Status status = (*fetcher)->fetch(Context(), blob(), {}, sink);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message(), "disk full");
  EXPECT_EQ(registry_->count("GET", digest_), 1);
}

TEST_F(DistributionTest, AStopEndsAFetch) {
  std::stop_source stop;
  registry_->inject({.path = digest_, .custom = [&](testing::Exchange& x) {
                       stop.request_stop();
                       x.hang();
                     }});
  auto bytes = fetch({}, Context().with_stop(stop.get_token()));
  ASSERT_FALSE(bytes);
  EXPECT_EQ(bytes.error().code(), Code::kCanceled);
}

TEST_F(DistributionTest, PiecesAtOnceUseTheirOwnConnections) {
  auto fetcher = *resolver_->fetcher(Context(), reference("app:1"), access_);
  std::atomic<int> good = 0;
  {
    std::vector<std::jthread> pieces;
    for (uint64_t i = 0; i < 6; ++i)
      pieces.emplace_back([&, i] {
        StringSink sink;
        if (fetcher->fetch(Context(), blob(), {i * 50'000, 50'000}, sink) &&
            sink.take() == blob_.substr(i * 50'000, 50'000))
          ++good;
      });
  }
  EXPECT_EQ(good, 6);
}

// ---- redirects ----

TEST_F(DistributionTest, RedirectsDropCredentials) {
  FakeRegistry::Options basic;
  basic.auth = FakeRegistry::Auth::kBasic;
  start(basic);
  user("secret");
  testing::HttpServer storage([&](testing::Exchange& x) {
    x.respond(x.request.headers.contains("authorization") ? 400 : 200, {}, blob_);
  });
  // The first request, before the credentials were asked for, and the one with them.
  registry_->inject({.path = digest_, .skip = 1, .redirect = storage.url() + "/b?sig=TOPSECRET"});
  auto bytes = fetch();
  ASSERT_TRUE(bytes) << bytes.error().message();
  EXPECT_EQ(*bytes, blob_);
}

TEST_F(DistributionTest, RedirectLoopsEnd) {
  registry_->inject({.path = digest_, .times = -1, .redirect = "/v2/app/blobs/" + digest_});
  Error error = fetch_error();
  EXPECT_EQ(error.code(), Code::kFailedPrecondition);
  EXPECT_THAT(error.message(), HasSubstr("loop"));
  EXPECT_EQ(registry_->count("GET", digest_), 1);
}

// ---- authentication ----

class BearerTest : public DistributionTest {
 protected:
  void SetUp() override {
    FakeRegistry::Options bearer;
    bearer.auth = FakeRegistry::Auth::kBearer;
    start(bearer);
  }
  int tokens(const std::string& method) { return registry_->count(method, "/token"); }
};

TEST_F(BearerTest, OneTokenServesAPull) {
  user("secret");
  auto resolved = resolver_->resolve(Context(), reference("app:1"), access_);
  ASSERT_TRUE(resolved) << resolved.error().message();
  StringSink sink;
  ASSERT_TRUE(resolved->fetcher->fetch(Context(), blob(), {}, sink));
  EXPECT_EQ(tokens("GET"), 1);
  for (auto& request : registry_->seen())
    if (request.path == "/token") {
      EXPECT_THAT(request.target, HasSubstr("service=fake"));
      EXPECT_THAT(request.target, HasSubstr("scope=repository%3Aapp%3Apull"));
      EXPECT_THAT(request.target, HasSubstr("account=user"));
    }
}

TEST_F(BearerTest, AnExpiredTokenIsRenewedOnce) {
  user("secret");
  auto fetcher = *resolver_->fetcher(Context(), reference("app:1"), access_);
  StringSink sink;
  ASSERT_TRUE(fetcher->fetch(Context(), blob(), {0, 100}, sink));
  registry_->revoke_tokens();
  ASSERT_TRUE(fetcher->fetch(Context(), blob(), {100, 100}, sink));
  EXPECT_EQ(sink.take(), blob_.substr(0, 200));
  EXPECT_EQ(tokens("GET"), 2);
  registry_->revoke_tokens();
  registry_->set_password("changed");
  Status revoked = fetcher->fetch(Context(), blob(), {200, 100}, sink);
  ASSERT_FALSE(revoked);
  EXPECT_EQ(revoked.error().code(), Code::kUnauthenticated);
  EXPECT_THAT(revoked.error().message(), Not(HasSubstr("secret")));
}

TEST_F(BearerTest, ATokenIsAskedForOnceByMany) {
  user("secret");
  auto fetcher = *resolver_->fetcher(Context(), reference("app:1"), access_);
  std::atomic<int> good = 0;
  {
    std::vector<std::jthread> callers;
    for (int i = 0; i < 8; ++i)
      callers.emplace_back([&] {
        StringSink sink;
        if (fetcher->fetch(Context(), blob(), {0, 10}, sink)) ++good;
      });
  }
  EXPECT_EQ(good, 8);
  EXPECT_EQ(tokens("GET"), 1);
}

TEST_F(BearerTest, WrongAndMissingCredentials) {
  user("wrong");
  Error wrong = resolve_error();
  EXPECT_EQ(wrong.code(), Code::kUnauthenticated);
  EXPECT_THAT(wrong.message(), HasSubstr("/token refused the credentials"));
  EXPECT_THAT(wrong.message(), Not(HasSubstr("wrong,")));
  access_ = {};
  EXPECT_EQ(resolve_error().code(), Code::kUnauthenticated);
}

TEST_F(BearerTest, OneUsersTokenIsNotAnothers) {
  user("secret");
  ASSERT_TRUE(resolver_->resolve(Context(), reference("app:1"), access_));
  user("guess");
  EXPECT_EQ(resolve_error().code(), Code::kUnauthenticated);
  access_ = {};
  EXPECT_EQ(resolve_error().code(), Code::kUnauthenticated);
}

TEST_F(BearerTest, AnonymousPull) {
  FakeRegistry::Options open;
  open.auth = FakeRegistry::Auth::kBearer;
  open.anonymous_pull = true;
  start(open);
  EXPECT_TRUE(resolver_->resolve(Context(), reference("app:1"), access_));
}

TEST_F(BearerTest, IdentityTokensAndPasswordsByPost) {
  access_.credentials = fixed_credentials("", {.identity_token = "refresh-me"});
  ASSERT_TRUE(resolver_->resolve(Context(), reference("app:1"), access_));
  EXPECT_EQ(tokens("POST"), 1);
  EXPECT_EQ(tokens("GET"), 0);
  FakeRegistry::Options oauth;
  oauth.auth = FakeRegistry::Auth::kBearer;
  oauth.oauth_only = true;
  start(oauth);
  user("secret");
  ASSERT_TRUE(resolver_->resolve(Context(), reference("app:1"), access_));
  EXPECT_EQ(tokens("POST"), 1);
}

TEST_F(BearerTest, ARegistryTokenIsSentAsItIs) {
  access_.credentials = fixed_credentials("", {.registry_token = "given"});
  EXPECT_EQ(resolve_error().code(), Code::kUnauthenticated);
  EXPECT_EQ(registry_->seen().at(0).headers.at("authorization"), "Bearer given");
  EXPECT_EQ(tokens("GET") + tokens("POST"), 0);
}

TEST_F(BearerTest, BadTokenServers) {
  user("secret");
  for (Fault fault : std::initializer_list<Fault>{
           {.path = "/token", .status = 200, .body = "no json"},
           {.path = "/token", .status = 200, .body = "{}"},
           {.path = "/token", .status = 200, .body = "{\"token\":\"a b\"}"},
           {.path = "/token", .status = 200, .body = std::string(2 << 20, ' ')},
           {.path = "/token", .redirect = "file:///etc/passwd"}}) {
    registry_->clear_faults();
    fault.times = -1;
    registry_->inject(fault);
    (void)resolve_error();
  }
  registry_->clear_faults();
  registry_->inject({.path = "/token", .status = 503});
  EXPECT_TRUE(resolver_->resolve(Context(), reference("app:1"), access_)) << "tried again";
}

TEST_F(DistributionTest, TlsByItsOwnCa) {
  testing::TestCa ca(dir_.path());
  testing::CertFiles files = ca.issue("registry");
  FakeRegistry::Options tls;
  tls.tls = {files.cert, files.key};
  start(tls);
  dir_.write(registry_->host() + "/hosts.toml",
             "server = \"" + registry_->url() + "\"\nca = \"" + ca.cert_file() + "\"\n");
  auto resolved = resolver_->resolve(Context(), reference("app:1"), access_);
  ASSERT_TRUE(resolved) << resolved.error().message();
  dir_.write(registry_->host() + "/hosts.toml", "server = \"" + registry_->url() + "\"\n");
  Error untrusted = resolve_error();
  EXPECT_EQ(untrusted.code(), Code::kFailedPrecondition);
  EXPECT_THAT(untrusted.message(), HasSubstr("certs.d"));
  access_.skip_verify = true;
  EXPECT_TRUE(resolver_->resolve(Context(), reference("app:1"), access_));
}

// ---- pushing ----

class PushTest : public DistributionTest {
 protected:
  std::unique_ptr<Pusher> pusher(const std::string& name = "new:1") {
    return *resolver_->pusher(Context(), reference(name), access_);
  }
  oci::Descriptor descriptor(const std::string& bytes, std::string_view type) {
    oci::Descriptor d;
    d.media_type = type;
    d.digest = *Digest::parse(testing::sha256_of(bytes));
    d.size = bytes.size();
    return d;
  }
  Pusher::OpenAt open(const std::string& bytes) {
    return [this, &bytes](uint64_t offset) -> Result<std::unique_ptr<ByteSource>> {
      offsets_.push_back(offset);
      return std::make_unique<MemorySource>(std::string_view(bytes).substr(offset));
    };
  }
  std::string bytes_ = random_bytes(200'001);
  std::vector<uint64_t> offsets_;
};

TEST_F(PushTest, BlobsAndManifests) {
  auto push = pusher();
  oci::Descriptor layer = descriptor(bytes_, oci::media_type::kOciLayer);
  EXPECT_FALSE(*push->has_blob(Context(), layer.digest));
  Status put = push->put_blob(Context(), layer, open(bytes_));
  ASSERT_TRUE(put) << put.error().message();
  EXPECT_TRUE(*push->has_blob(Context(), layer.digest));
  EXPECT_EQ(registry_->blob(layer.digest.str()), bytes_);
  std::string manifest = "{}";
  ASSERT_TRUE(push->put_manifest(Context(), "1", descriptor(manifest, kManifestType), manifest));
  EXPECT_EQ(registry_->manifest("new", "1"), manifest);
  std::string empty;
  ASSERT_TRUE(push->put_blob(Context(), descriptor(empty, "x/y"), open(empty)));
}

TEST_F(PushTest, Mounts) {
  auto push = pusher();
  EXPECT_TRUE(*push->mount_blob(Context(), *Digest::parse(digest_), "app"));
  auto other = *Digest::parse(testing::sha256_of("other"));
  EXPECT_FALSE(*push->mount_blob(Context(), other, "app"));
  EXPECT_EQ(registry_->count("DELETE", ""), 1) << "the upload opened instead is ended";
  registry_->inject({.method = "POST", .status = 403});
  EXPECT_FALSE(*push->mount_blob(Context(), other, "app"));
}

TEST_F(PushTest, ResumesABrokenUpload) {
  registry_->inject({.method = "PUT", .keep_of_upload = 100'000});
  registry_->inject({.method = "PATCH", .keep_of_upload = 50'000});
  auto push = pusher();
  oci::Descriptor layer = descriptor(bytes_, oci::media_type::kOciLayer);
  Status put = push->put_blob(Context(), layer, open(bytes_));
  ASSERT_TRUE(put) << put.error().message();
  EXPECT_EQ(registry_->blob(layer.digest.str()), bytes_);
  EXPECT_THAT(offsets_, ::testing::ElementsAre(0, 100'000, 150'000));
}

TEST_F(PushTest, StartsAnewWhenTheUploadIsGone) {
  registry_->inject({.method = "PUT", .status = 502});
  registry_->inject({.method = "GET", .status = 404});
  auto push = pusher();
  oci::Descriptor layer = descriptor(bytes_, oci::media_type::kOciLayer);
  Status put = push->put_blob(Context(), layer, open(bytes_));
  ASSERT_TRUE(put) << put.error().message();
  EXPECT_EQ(registry_->count("POST", "/uploads/"), 2);
}

TEST_F(PushTest, RefusalsAreClear) {
  auto push = pusher();
  oci::Descriptor layer = descriptor("other bytes", oci::media_type::kOciLayer);
  layer.size = bytes_.size();
  Status wrong = push->put_blob(Context(), layer, open(bytes_));
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code(), Code::kInvalidArgument);
  EXPECT_THAT(wrong.error().message(), HasSubstr("DIGEST_INVALID"));
  registry_->inject({.method = "PUT", .status = 403});
  std::string manifest = "{}";
  Status denied = push->put_manifest(Context(), "1", descriptor(manifest, kManifestType), manifest);
  ASSERT_FALSE(denied);
  EXPECT_EQ(denied.error().code(), Code::kPermissionDenied);
  EXPECT_THAT(denied.error().message(), HasSubstr("/new"));
}

TEST_F(PushTest, AnUploadLedElsewhereGoesWithoutCredentials) {
  FakeRegistry::Options basic;
  basic.auth = FakeRegistry::Auth::kBasic;
  start(basic);
  user("secret");
  std::atomic<int> asked = 0, with_credentials = 0;
  testing::HttpServer other([&](testing::Exchange& x) {
    ++asked;
    if (x.request.headers.contains("authorization")) ++with_credentials;
    x.respond(401, {{"WWW-Authenticate", "Basic realm=\"trap\""}});
  });
  registry_->inject({.method = "POST",
                     .skip = 1,
                     .times = -1,
                     .status = 202,
                     .headers = {{"Location", other.url() + "/upload"}}});
  Status put =
      pusher()->put_blob(Context(), descriptor(bytes_, oci::media_type::kOciLayer), open(bytes_));
  ASSERT_FALSE(put);
  EXPECT_EQ(put.error().code(), Code::kUnauthenticated);
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(with_credentials, 0);
}

TEST_F(PushTest, AsksForTheRightToPush) {
  FakeRegistry::Options bearer;
  bearer.auth = FakeRegistry::Auth::kBearer;
  start(bearer);
  user("secret");
  auto push = pusher();
  oci::Descriptor layer = descriptor(bytes_, oci::media_type::kOciLayer);
  ASSERT_TRUE(push->put_blob(Context(), layer, open(bytes_)));
  registry_->revoke_tokens();
  EXPECT_TRUE(*push->has_blob(Context(), layer.digest));
  EXPECT_TRUE(*push->mount_blob(Context(), *Digest::parse(digest_), "app"));
  access_ = {};
  Status anonymous = pusher()->put_blob(Context(), layer, open(bytes_));
  ASSERT_FALSE(anonymous);
  EXPECT_EQ(anonymous.error().code(), Code::kUnauthenticated);
}

}  // namespace
}  // namespace skiff::registry
