// URLs, and which proxy they go through.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "http/proxy.h"
#include "http/url.h"

namespace skiff::http {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// ---- URLs ----

TEST(UrlTest, TakesApart) {
  auto url = Url::parse("HTTPS://Reg.Example.com:443/v2/a?x=1&y=%20#frag");
  ASSERT_TRUE(url) << url.error().message();
  EXPECT_EQ(url->scheme(), "https");
  EXPECT_EQ(url->authority(), "reg.example.com");
  EXPECT_EQ(url->port(), 443);
  EXPECT_EQ(url->path(), "/v2/a");
  EXPECT_EQ(url->str(), "https://reg.example.com/v2/a?x=1&y=%20");
  EXPECT_EQ(url->display(), "https://reg.example.com/v2/a");
  auto v6 = Url::parse("http://[::1]:5000");
  ASSERT_TRUE(v6);
  EXPECT_EQ(v6->host(), "::1");
  EXPECT_EQ(v6->authority(), "[::1]:5000");
  EXPECT_EQ(v6->path(), "/");
}

TEST(UrlTest, RefusesWhatIsNoPlainHttpUrl) {
  for (const char* bad : {"", "/v2/", "ftp://x/", "file:///etc/passwd", "http://", "http://a b/",
                          "http://a/\n", "http://user:secret@host/", "http://h:99999/"}) {
    auto url = Url::parse(bad);
    ASSERT_FALSE(url) << bad;
    EXPECT_EQ(url.error().code(), Code::kInvalidArgument);
    EXPECT_THAT(url.error().message(), Not(HasSubstr("secret")));
  }
}

TEST(UrlTest, ResolvesLocations) {
  auto base = Url::parse("http://a.example/v2/x/y?q=1");
  EXPECT_EQ(base->resolve("/z?w=2")->str(), "http://a.example/z?w=2");
  EXPECT_EQ(base->resolve("z")->str(), "http://a.example/v2/x/z");
  EXPECT_EQ(base->resolve("//b.example/z")->str(), "http://b.example/z");
  EXPECT_EQ(base->resolve("https://c.example:8443/")->str(), "https://c.example:8443/");
  EXPECT_FALSE(base->resolve("file:///etc/passwd"));
  EXPECT_FALSE(base->resolve("http://u:p@c.example/"));
}

TEST(UrlTest, AddsQueries) {
  auto url = Url::parse("http://a.example/v2/");
  EXPECT_EQ(url->with_query("ns", "docker.io").with_query("scope", "a:b c").str(),
            "http://a.example/v2/?ns=docker.io&scope=a%3Ab%20c");
}

TEST(UrlTest, KnowsLoopback) {
  EXPECT_TRUE(is_loopback("localhost"));
  EXPECT_TRUE(is_loopback("127.1.2.3"));
  EXPECT_TRUE(is_loopback("::1"));
  EXPECT_FALSE(is_loopback("128.0.0.1"));
  EXPECT_FALSE(is_loopback("localhost.example.com"));
}

// ---- proxies ----

std::string proxy_for(const char* no_proxy, const char* url) {
  ProxyRules rules{"proxy.example:3128", "https://secure.example", no_proxy};
  return rules.proxy_for(*Url::parse(url));
}

TEST(ProxyTest, ChoosesByScheme) {
  EXPECT_EQ(proxy_for("", "http://a.example/"), "http://proxy.example:3128");
  EXPECT_EQ(proxy_for("", "https://a.example/"), "https://secure.example");
  EXPECT_EQ(proxy_for("", "http://localhost:5000/"), "");
  EXPECT_EQ(proxy_for("", "http://127.0.0.9/"), "");
  EXPECT_EQ(proxy_for("", "http://[::1]/"), "");
}

TEST(ProxyTest, NoProxyRules) {
  struct Case {
    const char* list;
    const char* url;
    bool proxied;
  };
  for (Case c : std::initializer_list<Case>{
           {"*", "http://a.example/", false},
           {"b.example, a.example", "http://a.example/", false},
           {"A.Example", "http://a.example/", false},
           {"a.example", "http://x.a.example/", false},
           {"a.example", "http://xa.example/", true},
           {".a.example", "http://a.example/", true},
           {".a.example", "http://x.a.example/", false},
           {"*.a.example", "http://x.a.example/", false},
           {"a.example:80", "http://a.example/", false},
           {"a.example:81", "http://a.example/", true},
           {"10.0.0.0/8", "http://10.9.8.7/", false},
           {"10.0.0.0/8", "http://11.9.8.7/", true},
           {"10.128.0.0/9", "http://10.127.0.1/", true},
           {"10.1.2.3", "http://10.1.2.3:5000/", false},
           {"10.1.2.3:5000", "http://10.1.2.3:5000/", false},
           {"fd00::/8", "http://[fd12::1]/", false},
           {"[fd12::1]:80", "http://[fd12::1]/", false},
           {"fd12::1", "http://[fd12::2]/", true},
           {"10.0.0.0/99,,", "http://10.0.0.1/", true},
       })
    EXPECT_EQ(!proxy_for(c.list, c.url).empty(), c.proxied) << c.list << " " << c.url;
}

}  // namespace
}  // namespace skiff::http
