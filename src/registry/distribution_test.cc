// Pulling over HTTP from a registry that is good, bad or gone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "registry/distribution_fixture.h"
#include "tests/lib/test_tls.h"

namespace skiff::registry {
namespace {

using testing::FakeRegistry;
using ::testing::HasSubstr;
using ::testing::Not;
using namespace std::chrono_literals;

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

// ---- TLS ----

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

}  // namespace
}  // namespace skiff::registry
