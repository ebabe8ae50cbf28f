#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <mutex>
#include <thread>

#include "http/client.h"
#include "tests/lib/http_server.h"
#include "tests/lib/temp_dir.h"
#include "tests/lib/test_tls.h"

namespace skiff::http {
namespace {

using testing::Exchange;
using ::testing::HasSubstr;
using testing::HttpServer;
using testing::TempDir;
using testing::TestCa;
using namespace std::chrono_literals;

Client::Options no_proxy_options() {
  Client::Options options;
  options.proxies = ProxyRules{};
  return options;
}

Request get(const std::string& url) {
  Request request;
  request.url = url;
  request.timeouts = {2000ms, 2000ms, 2000ms, 1};
  return request;
}

class Collect : public BodySink {
 public:
  Status begin(const Response& head) override {
    status = head.status;
    return ok();
  }
  Status write(Bytes bytes) override {
    text.append(as_text(bytes));
    return ok();
  }
  int status = 0;
  std::string text;
};

TEST(ClientTest, GetsABody) {
  HttpServer server([](Exchange& x) { x.respond(200, {{"X-A", " b "}}, "hello"); });
  Client client(no_proxy_options());
  auto response = client.perform(Context(), get(server.url() + "/x"));
  ASSERT_TRUE(response) << response.error().message();
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(response->body, "hello");
  EXPECT_EQ(response->headers.get("x-a"), "b");
  EXPECT_EQ(response->headers.number("content-length"), 5);
}

TEST(ClientTest, ConnectionsAreUsedAgain) {
  HttpServer server([](Exchange& x) { x.respond(200, {}, "x"); });
  Client client(no_proxy_options());
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(client.perform(Context(), get(server.url())));
  EXPECT_EQ(server.connections(), 1);
}

TEST(ClientTest, IdleThreadsEndAndStartAgain) {
  HttpServer server([](Exchange& x) { x.respond(200, {}, "x"); });
  Client::Options options = no_proxy_options();
  options.idle = 1ms;
  Client client(options);
  for (int i = 1; i <= 50; ++i) {
    ASSERT_TRUE(client.perform(Context(), get(server.url())));
    std::this_thread::yield();
  }
  EXPECT_GE(server.connections(), 1);
}

TEST(ClientTest, ADeadKeptConnectionIsReplaced) {
  std::atomic<int> asked = 0;
  HttpServer server([&](Exchange& x) {
    if (++asked == 2) return x.close();  // the second request on the kept connection
    x.respond(200, {}, "x");
  });
  Client client(no_proxy_options());
  ASSERT_TRUE(client.perform(Context(), get(server.url())));
  auto second = client.perform(Context(), get(server.url()));
  ASSERT_TRUE(second) << second.error().message();
  EXPECT_EQ(server.connections(), 2);
}

TEST(ClientTest, ABodyThatMayHaveArrivedIsNotSentAgain) {
  std::atomic<int> asked = 0;
  HttpServer server([&](Exchange& x) {
    if (++asked == 2) return x.close();
    x.respond(200);
  });
  Client client(no_proxy_options());
  Request put = get(server.url());
  put.method = "PUT";
  put.body = Body::of("payload");
  ASSERT_TRUE(client.perform(Context(), put));
  auto second = client.perform(Context(), put);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), Code::kUnavailable);
  EXPECT_EQ(asked, 2);
}

TEST(ClientTest, StreamsToTheSinkOnlySuccess) {
  std::string big(3 << 20, 'x');
  HttpServer server([&](Exchange& x) {
    if (x.request.path == "/404") return x.respond(404, {}, "not here");
    x.respond(206, {}, big);
  });
  Client client(no_proxy_options());
  Collect sink;
  auto good = client.perform(Context(), get(server.url() + "/big"), &sink);
  ASSERT_TRUE(good);
  EXPECT_EQ(sink.status, 206);
  EXPECT_EQ(sink.text, big);
  EXPECT_EQ(good->body, "");
  Collect untouched;
  auto bad = client.perform(Context(), get(server.url() + "/404"), &untouched);
  ASSERT_TRUE(bad);
  EXPECT_EQ(bad->status, 404);
  EXPECT_EQ(bad->body, "not here");
  EXPECT_EQ(untouched.status, 0);
}

TEST(ClientTest, TheSinksErrorIsTheResult) {
  HttpServer server([&](Exchange& x) { x.respond(200, {}, std::string(1 << 20, 'x')); });
  struct Full : BodySink {
    Status write(Bytes) override { return fail(Code::kResourceExhausted, "disk full"); }
  } sink;
  Client client(no_proxy_options());
  auto response = client.perform(Context(), get(server.url()), &sink);
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code(), Code::kResourceExhausted);
  EXPECT_THAT(response.error().message(), HasSubstr("disk full"));
}

TEST(ClientTest, BoundsWhatItKeeps) {
  HttpServer server([&](Exchange& x) {
    x.respond(x.request.path == "/e" ? 500 : 200, {}, std::string(1 << 20, 'x'));
  });
  Client client(no_proxy_options());
  Request request = get(server.url());
  request.max_body = 1000;
  auto response = client.perform(Context(), request);
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code(), Code::kResourceExhausted);
  auto error = client.perform(Context(), get(server.url() + "/e"));
  ASSERT_TRUE(error) << error.error().message();
  EXPECT_EQ(error->body.size(), 64u << 10);
}

TEST(ClientTest, EndlessHeadersAreRefused) {
  HttpServer server([&](Exchange& x) {
    x.send_raw("HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 10000; ++i) x.send_raw("X-Filler: " + std::string(100, 'x') + "\r\n");
    x.hang();
  });
  Client client(no_proxy_options());
  auto response = client.perform(Context(), get(server.url()));
  ASSERT_FALSE(response);
  EXPECT_THAT(response.error().message(), HasSubstr("response headers"));
}

TEST(ClientTest, Uploads) {
  std::string seen;
  HttpServer server([&](Exchange& x) {
    seen = x.request.method + " " + x.request.header("content-length") + " " +
           x.request.header("expect") + x.request.body;
    x.respond(201);
  });
  Client client(no_proxy_options());
  for (const char* method : {"PUT", "POST", "PATCH"}) {
    Request request = get(server.url());
    request.method = method;
    request.body = Body::of("abc");
    ASSERT_TRUE(client.perform(Context(), request));
    EXPECT_EQ(seen, std::string(method) + " 3 abc");
    request.body = Body::of("");
    ASSERT_TRUE(client.perform(Context(), request));
    EXPECT_EQ(seen, std::string(method) + " 0 ");
  }
}

TEST(ClientTest, AShortUploadIsAnError) {
  HttpServer server([&](Exchange& x) { x.respond(201); });
  Client client(no_proxy_options());
  Request request = get(server.url());
  request.method = "PUT";
  request.body = Body::of("abc");
  request.body->size = 5;
  auto response = client.perform(Context(), request);
  ASSERT_FALSE(response);
  EXPECT_THAT(response.error().message(), HasSubstr("ended at 3 of 5"));
}

TEST(ClientTest, AShortResponseIsAnError) {
  HttpServer server([&](Exchange& x) {
    x.send_head(200, {{"Content-Length", "10"}});
    x.send_raw("12345");
    x.close();
  });
  Client client(no_proxy_options());
  Collect sink;
  auto response = client.perform(Context(), get(server.url()), &sink);
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code(), Code::kUnavailable);
  EXPECT_EQ(sink.text, "12345");
}

// ---- slow and dead peers ----

TEST(ClientTest, AHangEndsAtTheResponseTimeout) {
  HttpServer server([&](Exchange& x) { x.hang(); });
  Client client(no_proxy_options());
  Request request = get(server.url());
  request.timeouts.response = 50ms;
  auto response = client.perform(Context(), request);
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code(), Code::kDeadlineExceeded);
  EXPECT_THAT(response.error().message(), HasSubstr("no response in 0.05 s"));
}

TEST(ClientTest, DrippingBytesEndAtTheWindow) {
  HttpServer server([&](Exchange& x) {
    x.send_head(200, {{"Content-Length", "1000000"}});
    while (x.pause(5ms)) x.send_raw("x");
  });
  Client client(no_proxy_options());
  Request request = get(server.url());
  request.timeouts.stall_window = 100ms;
  request.timeouts.stall_bytes = 1000;
  Collect sink;
  auto response = client.perform(Context(), request, &sink);
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code(), Code::kDeadlineExceeded);
  EXPECT_THAT(response.error().message(), HasSubstr("bytes moved in 0.1 s"));
}

TEST(ClientTest, ASlowButSteadyBodyIsFine) {
  HttpServer server([&](Exchange& x) {
    x.send_head(200, {{"Content-Length", "30"}});
    for (int i = 0; i < 30; ++i) {
      x.send_raw("x");
      x.pause(20ms);
    }
  });
  Client client(no_proxy_options());
  Request request = get(server.url());
  request.timeouts.response = 500ms;
  request.timeouts.stall_window = 500ms;
  auto response = client.perform(Context(), request);
  ASSERT_TRUE(response) << response.error().message();
}

TEST(ClientTest, ADeadPortIsUnavailable) {
  std::string url;
  {
    HttpServer gone([](Exchange&) {});
    url = gone.url();
  }
  Client client(no_proxy_options());
  auto response = client.perform(Context(), get(url));
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code(), Code::kUnavailable);
}

TEST(ClientTest, AStopEndsTheRequestAtOnce) {
  std::stop_source stop;
  HttpServer server([&](Exchange& x) {
    stop.request_stop();
    x.hang();
  });
  Client client(no_proxy_options());
  Request request = get(server.url());
  request.timeouts.response = 60s;
  auto response = client.perform(Context().with_stop(stop.get_token()), request);
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code(), Code::kCanceled);
  auto again = client.perform(Context().with_stop(stop.get_token()), request);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code(), Code::kCanceled);
}

TEST(ClientTest, TheContextsDeadlineHolds) {
  HttpServer server([&](Exchange& x) { x.hang(); });
  Client client(no_proxy_options());
  Request request = get(server.url());
  request.timeouts.response = 60s;
  auto response = client.perform(Context().with_timeout(30ms), request);
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code(), Code::kDeadlineExceeded);
}

TEST(ClientTest, ManyAtOnce) {
  HttpServer server([&](Exchange& x) { x.respond(200, {}, std::string(100'000, 'x')); });
  Client client(no_proxy_options());
  std::atomic<int> good = 0;
  {
    std::vector<std::jthread> callers;
    for (int i = 0; i < 16; ++i)
      callers.emplace_back([&] {
        for (int j = 0; j < 10; ++j) {
          auto response = client.perform(Context(), get(server.url()));
          if (response && response->body.size() == 100'000) ++good;
        }
      });
  }
  EXPECT_EQ(good, 160);
}

// ---- redirects ----

TEST(ClientTest, FollowsAndKeepsSecretsAtHome) {
  std::mutex mutex;
  std::vector<std::string> seen;
  auto note = [&](Exchange& x) {
    std::lock_guard lock(mutex);
    seen.push_back(x.request.method + " " + x.request.path + " [" +
                   x.request.header("authorization") + "|" + x.request.header("x-key") + "|" +
                   x.request.header("accept") + "]");
  };
  HttpServer other([&](Exchange& x) {
    note(x);
    x.respond(200, {}, "blob");
  });
  HttpServer server([&](Exchange& x) {
    note(x);
    if (x.request.path == "/a") return x.respond(307, {{"Location", "/b"}}, "moved");
    x.respond(307, {{"Location", other.url() + "/c?sig=SECRET"}});
  });
  Client client(no_proxy_options());
  Request request = get(server.url() + "/a");
  request.headers = {{"Authorization", "Bearer t"}, {"X-Key", "k", true}, {"Accept", "any"}};
  Collect sink;
  auto response = client.perform(Context(), request, &sink);
  ASSERT_TRUE(response) << response.error().message();
  EXPECT_EQ(sink.text, "blob");
  EXPECT_THAT(seen, ::testing::ElementsAre("GET /a [Bearer t|k|any]", "GET /b [Bearer t|k|any]",
                                           "GET /c [||any]"));
}

TEST(ClientTest, RedirectLoopsAndChainsEnd) {
  std::atomic<int> n = 0;
  HttpServer server([&](Exchange& x) {
    if (x.request.path == "/chain")
      return x.respond(302, {{"Location", "/chain?" + std::to_string(++n)}});
    x.respond(302, {{"Location", x.request.path == "/a" ? "/b" : "/a"}});
  });
  Client client(no_proxy_options());
  auto loop = client.perform(Context(), get(server.url() + "/a"));
  ASSERT_FALSE(loop);
  EXPECT_EQ(loop.error().code(), Code::kFailedPrecondition);
  EXPECT_THAT(loop.error().message(), HasSubstr("loop"));
  auto chain = client.perform(Context(), get(server.url() + "/chain"));
  ASSERT_FALSE(chain);
  EXPECT_THAT(chain.error().message(), HasSubstr("more than 10 redirects"));
  EXPECT_EQ(n, 11);
}

TEST(ClientTest, RedirectsChangeMethodsAsRfc9110Says) {
  HttpServer server([&](Exchange& x) {
    if (x.request.path == "/303") return x.respond(303, {{"Location", "/end"}});
    if (x.request.path == "/307") return x.respond(307, {{"Location", "/end"}});
    x.respond(200, {}, x.request.method + x.request.body);
  });
  Client client(no_proxy_options());
  Request request = get(server.url() + "/303");
  request.method = "POST";
  request.body = Body::of("body");
  EXPECT_EQ(client.perform(Context(), request)->body, "GET");
  request.url = server.url() + "/307";
  EXPECT_EQ(client.perform(Context(), request)->body, "POSTbody");
}

TEST(ClientTest, RedirectsLeadToHttpOnly) {
  HttpServer server([&](Exchange& x) { x.respond(302, {{"Location", "file:///etc/passwd"}}); });
  Client client(no_proxy_options());
  auto response = client.perform(Context(), get(server.url()));
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code(), Code::kInvalidArgument);
}

// ---- proxies and TLS ----

TEST(ClientTest, GoesThroughTheProxy) {
  std::string target;
  HttpServer proxy([&](Exchange& x) {
    target = x.request.target;
    x.respond(200, {}, "by proxy");
  });
  Client::Options options;
  options.proxies = ProxyRules{proxy.url(), "", ""};
  Client client(options);
  auto response = client.perform(Context(), get("http://registry.example/v2/"));
  ASSERT_TRUE(response) << response.error().message();
  EXPECT_EQ(response->body, "by proxy");
  EXPECT_EQ(target, "http://registry.example/v2/");
}

class TlsTest : public ::testing::Test {
 protected:
  std::string read(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  TempDir dir_;
  TestCa ca_{dir_.path()};
  testing::CertFiles cert_ = ca_.issue("server.example");
  Client client_{no_proxy_options()};
};

TEST_F(TlsTest, TrustsOnlyWhatItIsToldTo) {
  HttpServer server([](Exchange& x) { x.respond(200, {}, "safe"); }, {cert_.cert, cert_.key});
  Request request = get(server.url());
  auto unknown = client_.perform(Context(), request);
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code(), Code::kFailedPrecondition);
  EXPECT_THAT(unknown.error().message(), HasSubstr("certificate"));
  request.tls.ca_pem = read(ca_.cert_file());
  auto known = client_.perform(Context(), request);
  ASSERT_TRUE(known) << known.error().message();
  EXPECT_EQ(known->body, "safe");
  request.tls.ca_pem.clear();
  EXPECT_FALSE(client_.perform(Context(), request)) << "a kept connection must not be shared";
  request.tls.skip_verify = true;
  EXPECT_TRUE(client_.perform(Context(), request));
}

TEST_F(TlsTest, ShowsItsCertificateOnlyToItsOrigin) {
  std::atomic<bool> shown_elsewhere = false;
  HttpServer other(
      [&](Exchange& x) {
        shown_elsewhere = x.request.client_cert;
        x.respond(200, {}, "other");
      },
      {cert_.cert, cert_.key});
  HttpServer server(
      [&](Exchange& x) {
        if (x.request.path == "/away") return x.respond(307, {{"Location", other.url()}});
        x.respond(200, {}, x.request.client_cert ? "known" : "unknown");
      },
      {cert_.cert, cert_.key, ca_.cert_file()});
  Request request = get(server.url());
  request.tls.ca_pem = read(ca_.cert_file());
  EXPECT_FALSE(client_.perform(Context(), request));
  auto mine = ca_.issue("client");
  request.tls.client_cert = mine.cert;
  request.tls.client_key = mine.key;
  auto response = client_.perform(Context(), request);
  ASSERT_TRUE(response) << response.error().message();
  EXPECT_EQ(response->body, "known");
  request.url = server.url() + "/away";
  ASSERT_TRUE(client_.perform(Context(), request));
  EXPECT_FALSE(shown_elsewhere);
}

}  // namespace
}  // namespace skiff::http
