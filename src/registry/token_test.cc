// Bearer tokens: asked for once, kept, renewed, and never another user's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "registry/distribution_fixture.h"

namespace skiff::registry {
namespace {

using testing::FakeRegistry;
using testing::Fault;
using ::testing::HasSubstr;
using ::testing::Not;

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

}  // namespace
}  // namespace skiff::registry
