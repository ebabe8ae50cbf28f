#include "tests/suites/registry_suite.h"

#include <gmock/gmock.h>

#include <atomic>
#include <thread>
#include <vector>

#include "codec/hash.h"

namespace skiff::registry {

using ::testing::HasSubstr;

namespace {

constexpr char kType[] = "application/vnd.oci.image.manifest.v1+json";
const std::string kManifest = R"({"schemaVersion":2,"config":{},"layers":[]})";

class FullSink : public ByteSink {
 public:
  Status write(Bytes) override { return fail(Code::kResourceExhausted, "disk full"); }
};

}  // namespace

oci::Reference RegistrySuite::reference(const std::string& rest) {
  auto reference = oci::Reference::parse(harness_->host() + "/" + rest);
  EXPECT_TRUE(reference) << rest;
  return *reference;
}

Result<Resolved> RegistrySuite::resolve(const std::string& rest) {
  return harness_->resolver().resolve(context_, reference(rest), access_);
}

FetcherPtr RegistrySuite::fetcher(const std::string& rest) {
  return harness_->resolver().fetcher(context_, reference(rest), access_).value();
}

std::unique_ptr<Pusher> RegistrySuite::pusher(const std::string& rest) {
  return harness_->resolver().pusher(context_, reference(rest), access_).value();
}

oci::Descriptor RegistrySuite::blob(const std::string& bytes) {
  oci::Descriptor descriptor;
  descriptor.media_type = oci::media_type::kOciLayerGzip;
  descriptor.digest = codec::digest_of(bytes);
  descriptor.size = bytes.size();
  return descriptor;
}

TEST_P(RegistrySuite, ResolvesTagsAndDigests) {
  Digest digest = harness_->add_manifest("lib/app", "1", kManifest, kType);
  for (const std::string& rest :
       {std::string("lib/app:1"), "lib/app@" + digest.str(), "lib/app:other@" + digest.str()}) {
    auto resolved = resolve(rest);
    ASSERT_TRUE(resolved) << resolved.error().message();
    EXPECT_EQ(resolved->descriptor.digest, digest);
    EXPECT_EQ(resolved->descriptor.size, kManifest.size());
    EXPECT_EQ(resolved->descriptor.media_type, kType);
    EXPECT_EQ(resolved->host, harness_->host());
    StringSink sink;
    ASSERT_TRUE(resolved->fetcher->fetch(context_, resolved->descriptor, {}, sink));
    EXPECT_EQ(sink.take(), kManifest);
  }
}

TEST_P(RegistrySuite, ATagMoves) {
  harness_->add_manifest("app", "1", kManifest, kType);
  Digest later = harness_->add_manifest("app", "1", kManifest + "\n", kType);
  EXPECT_EQ(resolve("app:1")->descriptor.digest, later);
}

TEST_P(RegistrySuite, WhatIsNotThereIsNotFound) {
  for (const std::string& rest : {std::string("none:1"), "none@sha256:" + std::string(64, 'a')}) {
    auto resolved = resolve(rest);
    ASSERT_FALSE(resolved);
    EXPECT_EQ(resolved.error().code(), Code::kNotFound);
    EXPECT_THAT(resolved.error().message(), HasSubstr("none"));
  }
  StringSink sink;
  Status fetched = fetcher()->fetch(context_, blob("never added"), {}, sink);
  ASSERT_FALSE(fetched);
  EXPECT_EQ(fetched.error().code(), Code::kNotFound);
}

TEST_P(RegistrySuite, FetchesRanges) {
  std::string bytes(200'000, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 7 + i / 251);
  harness_->add_blob(bytes);
  for (Range range : {Range{0, 0}, Range{0, 1}, Range{1, 0}, Range{70'000, 70'000},
                      Range{199'999, 1}, Range{0, 200'000}}) {
    StringSink sink;
    Status status = fetcher()->fetch(context_, blob(bytes), range, sink);
    ASSERT_TRUE(status) << status.error().message();
    size_t length = range.length ? range.length : bytes.size() - range.offset;
    EXPECT_EQ(sink.take(), bytes.substr(range.offset, length));
  }
  for (Range range :
       {Range{200'001, 0}, Range{200'000, 1}, Range{1, 200'000}, Range{1, UINT64_MAX}}) {
    StringSink sink;
    Status status = fetcher()->fetch(context_, blob(bytes), range, sink);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code(), Code::kOutOfRange);
    EXPECT_EQ(sink.take(), "");
  }
}

TEST_P(RegistrySuite, AWrongSizeIsRefused) {
  harness_->add_blob("twelve bytes");
  for (uint64_t size : {11u, 13u}) {
    oci::Descriptor wrong = blob("twelve bytes");
    wrong.size = size;
    StringSink sink;
    Status status = fetcher()->fetch(context_, wrong, {}, sink);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code(), Code::kDataLoss);
    EXPECT_LE(sink.take().size(), size);
  }
}

TEST_P(RegistrySuite, TheSinksErrorComesBackUnchanged) {
  harness_->add_blob("bytes");
  FullSink sink;
  Status status = fetcher()->fetch(context_, blob("bytes"), {}, sink);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), Code::kResourceExhausted);
  EXPECT_EQ(status.error().message(), "disk full");
}

TEST_P(RegistrySuite, AStoppedContextEndsEverything) {
  harness_->add_blob("bytes");
  harness_->add_manifest("app", "1", kManifest, kType);
  std::stop_source stop;
  stop.request_stop();
  auto fetcher = this->fetcher();
  auto pusher = this->pusher();
  context_ = context_.with_stop(stop.get_token());
  auto resolved = resolve("app:1");
  ASSERT_FALSE(resolved);
  EXPECT_EQ(resolved.error().code(), Code::kCanceled);
  StringSink sink;
  EXPECT_EQ(fetcher->fetch(context_, blob("bytes"), {}, sink).error().code(), Code::kCanceled);
  EXPECT_EQ(pusher->has_blob(context_, blob("bytes").digest).error().code(), Code::kCanceled);
}

TEST_P(RegistrySuite, FetchesAtOnce) {
  std::string bytes(160'000, 'x');
  harness_->add_blob(bytes);
  auto fetcher = this->fetcher();
  std::atomic<int> good = 0;
  {
    std::vector<std::jthread> threads;
    for (uint64_t i = 0; i < 8; ++i)
      threads.emplace_back([&, i] {
        StringSink sink;
        if (fetcher->fetch(context_, blob(bytes), {i * 20'000, 20'000}, sink) &&
            sink.take().size() == 20'000)
          ++good;
      });
  }
  EXPECT_EQ(good, 8);
}

TEST_P(RegistrySuite, Pushes) {
  auto push = pusher();
  std::string layer(100'000, 'l');
  EXPECT_FALSE(push->has_blob(context_, blob(layer).digest).value());
  auto open = [&](uint64_t offset) -> Result<std::unique_ptr<ByteSource>> {
    return std::make_unique<MemorySource>(std::string_view(layer).substr(offset));
  };
  Status put = push->put_blob(context_, blob(layer), open);
  ASSERT_TRUE(put) << put.error().message();
  EXPECT_TRUE(push->has_blob(context_, blob(layer).digest).value());

  oci::Descriptor manifest = blob(kManifest);
  manifest.media_type = kType;
  ASSERT_TRUE(push->put_manifest(context_, "1", manifest, kManifest));
  auto resolved = resolve("new:1");
  ASSERT_TRUE(resolved) << resolved.error().message();
  EXPECT_EQ(resolved->descriptor.digest, manifest.digest);
  StringSink sink;
  ASSERT_TRUE(resolved->fetcher->fetch(context_, blob(layer), {}, sink));
  EXPECT_EQ(sink.take(), layer);
}

TEST_P(RegistrySuite, Mounts) {
  Digest there = harness_->add_blob("there");
  auto push = pusher();
  EXPECT_TRUE(push->mount_blob(context_, there, "app").value());
  EXPECT_FALSE(push->mount_blob(context_, blob("not there").digest, "app").value());
}

TEST_P(RegistrySuite, ACorruptUploadIsRefused) {
  std::string truth = "true bytes", lie = "lies bytes";
  auto open = [&](uint64_t offset) -> Result<std::unique_ptr<ByteSource>> {
    return std::make_unique<MemorySource>(std::string_view(lie).substr(offset));
  };
  auto push = pusher();
  Status put = push->put_blob(context_, blob(truth), open);
  ASSERT_FALSE(put);
  EXPECT_EQ(put.error().code(), Code::kInvalidArgument);
  EXPECT_FALSE(push->has_blob(context_, blob(truth).digest).value());
}

TEST_P(RegistrySuite, CredentialsAreNeededAndKept) {
  start(true);
  harness_->add_blob("bytes");
  harness_->add_manifest("app", "1", kManifest, kType);
  auto anonymous = resolve("app:1");
  ASSERT_FALSE(anonymous);
  EXPECT_EQ(anonymous.error().code(), Code::kUnauthenticated);

  Credentials wrong = harness_->credentials();
  wrong.password = "Wr0ng-Passw0rd";
  access_.credentials = fixed_credentials("", wrong);
  auto refused = resolve("app:1");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kUnauthenticated);
  EXPECT_EQ(refused.error().message().find("Wr0ng"), std::string::npos);

  access_.credentials = fixed_credentials(harness_->host(), harness_->credentials());
  auto resolved = resolve("app:1");
  ASSERT_TRUE(resolved) << resolved.error().message();
  access_ = {};  // the fetcher has its own
  StringSink sink;
  EXPECT_TRUE(resolved->fetcher->fetch(context_, blob("bytes"), {}, sink));

  access_.credentials = fixed_credentials("elsewhere.example", harness_->credentials());
  EXPECT_EQ(resolve("app:1").error().code(), Code::kUnauthenticated);
}

}  // namespace skiff::registry
