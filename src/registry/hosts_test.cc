#include "registry/hosts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/lib/temp_dir.h"
#include "tests/lib/test_tls.h"

namespace skiff::registry {
namespace {

using ::testing::HasSubstr;
using testing::TempDir;
using testing::TestCa;
using namespace std::chrono_literals;

class HostsTest : public ::testing::Test {
 protected:
  std::vector<Host> find(const std::string& registry, Access access = {}) {
    auto hosts = find_hosts({dir_.path()}, registry, access);
    EXPECT_TRUE(hosts) << hosts.error().message();
    return hosts ? *hosts : std::vector<Host>(1);
  }
  std::string error(const std::string& text) {
    dir_.write("reg.example/hosts.toml", text);
    auto hosts = find_hosts({dir_.path()}, "reg.example", {});
    if (hosts) return "no error";
    EXPECT_EQ(hosts.error().code(), Code::kInvalidArgument);
    return hosts.error().message();
  }
  TempDir dir_;
};

TEST_F(HostsTest, DefaultsWithoutAnyFile) {
  EXPECT_EQ(find("docker.io").at(0).base, "https://registry-1.docker.io/v2");
  EXPECT_EQ(find("docker.io").at(0).name, "docker.io");
  EXPECT_EQ(find("docker.io").at(0).ns, "");
  EXPECT_EQ(find("reg.example").at(0).base, "https://reg.example/v2");
  EXPECT_EQ(find("reg.example:5000").at(0).base, "https://reg.example:5000/v2");
  EXPECT_EQ(find("localhost:5000").at(0).base, "http://localhost:5000/v2");
  EXPECT_EQ(find("localhost").at(0).base, "http://localhost/v2");
  EXPECT_EQ(find("127.0.0.1:443").at(0).base, "https://127.0.0.1:443/v2");
  EXPECT_EQ(find("[::1]:5000").at(0).base, "http://[::1]:5000/v2");
  EXPECT_EQ(find("reg.example", {.plain_http = true}).at(0).base, "http://reg.example/v2");
  EXPECT_TRUE(find("reg.example", {.skip_verify = true}).at(0).tls.skip_verify);
}

TEST_F(HostsTest, ReadsEveryKey) {
  TestCa ca(dir_.path());
  dir_.write("reg.example_5000_/hosts.toml", R"(
server = "https://reg.example:5000"
dial_timeout = "1m500ms"

[host."https://z.example"]
  capabilities = ["pull", "resolve"]
  ca = ["../ca.crt", ")" + ca.cert_file() + R"("]
  client = [["../ca.crt", "../ca.key"]]
  dial_timeout = "3s"
  [host."https://z.example".header]
    X-One = "1"
    X-Two = ["2a", "2b"]

[host."http://a.example:80/prefix/"]
  skip_verify = true

[host."https://m.example/v2/mirror"]
  override_path = true
  capabilities = "pull"
)");
  auto hosts = find("reg.example:5000");
  ASSERT_EQ(hosts.size(), 4u);
  const Host& z = hosts[0];
  EXPECT_EQ(z.base, "https://z.example/v2");
  EXPECT_EQ(z.name, "z.example");
  EXPECT_EQ(z.ns, "reg.example:5000");
  EXPECT_TRUE(z.pull && z.resolve && !z.push);
  EXPECT_EQ(z.dial_timeout, 3s);
  EXPECT_EQ(z.headers.size(), 3u);
  EXPECT_EQ(z.headers.get("x-one"), "1");
  EXPECT_TRUE(z.headers.begin()->sensitive);
  EXPECT_EQ(z.tls.client_cert, dir_.path().string() + "/reg.example_5000_/../ca.crt");
  EXPECT_NE(z.tls.ca_pem.find("BEGIN CERTIFICATE"), z.tls.ca_pem.rfind("BEGIN CERTIFICATE"));
  EXPECT_EQ(hosts[1].base, "http://a.example/prefix/v2");
  EXPECT_TRUE(hosts[1].tls.skip_verify);
  EXPECT_TRUE(hosts[1].push);
  EXPECT_EQ(hosts[2].base, "https://m.example/v2/mirror");
  EXPECT_TRUE(hosts[2].pull && !hosts[2].resolve && !hosts[2].push);
  EXPECT_EQ(hosts[3].base, "https://reg.example:5000/v2");
  EXPECT_EQ(hosts[3].ns, "");
  EXPECT_EQ(hosts[3].dial_timeout, 60'500ms);
}

TEST_F(HostsTest, ServerElsewhereKeepsTheRegistrysCredentials) {
  dir_.write("reg.example/hosts.toml", "server = \"http://cache.example:5000\"\n");
  Host server = find("reg.example").at(0);
  EXPECT_EQ(server.base, "http://cache.example:5000/v2");
  EXPECT_EQ(server.name, "reg.example");
  EXPECT_EQ(server.ns, "reg.example");
}

TEST_F(HostsTest, DirectoriesInTheirOrder) {
  dir_.write("_default/hosts.toml", "[host.\"https://all.example\"]\n");
  EXPECT_EQ(find("docker.io").size(), 2u);
  EXPECT_EQ(find("docker.io").at(0).ns, "docker.io");
  EXPECT_EQ(find("docker.io").at(1).base, "https://registry-1.docker.io/v2");
  dir_.write("docker.io/hosts.toml", "[host.\"https://hub.example\"]\n");
  EXPECT_EQ(find("docker.io").at(0).base, "https://hub.example/v2") << "edits count at once";
  dir_.write("reg.example:5000/hosts.toml", "[host.\"https://colon.example\"]\n");
  EXPECT_EQ(find("reg.example:5000").at(0).base, "https://colon.example/v2");
}

TEST_F(HostsTest, DockersLayout) {
  TestCa ca(dir_.path());
  testing::CertFiles files = ca.issue("client");
  std::filesystem::create_directories(dir_ / "127.0.0.1:5000");
  std::filesystem::copy(ca.cert_file(), dir_ / "127.0.0.1:5000/ca.crt");
  std::filesystem::copy(files.cert, dir_ / "127.0.0.1:5000/client.cert");
  auto missing = find_hosts({dir_.path()}, "127.0.0.1:5000", {});
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().message(), HasSubstr("client.key is missing"));
  std::filesystem::copy(files.key, dir_ / "127.0.0.1:5000/client.key");
  Host host = find("127.0.0.1:5000").at(0);
  EXPECT_EQ(host.base, "https://127.0.0.1:5000/v2") << "a CA means TLS, on loopback too";
  EXPECT_THAT(host.tls.ca_pem, HasSubstr("BEGIN CERTIFICATE"));
  EXPECT_EQ(host.tls.client_key, dir_ / "127.0.0.1:5000/client.key");
}

TEST_F(HostsTest, ErrorsNameFileAndLine) {
  std::string file = dir_ / "reg.example/hosts.toml";
  EXPECT_THAT(error("\n\nserver = 5\n"), HasSubstr(file + ":3: server: expected a string"));
  EXPECT_THAT(error("server = \"ftp://x\"\n"), HasSubstr(file + ":1: URL"));
  EXPECT_THAT(error("a = 1\nb = [\n"), HasSubstr(file + ":"));
  EXPECT_THAT(error("[host.\"https://m\"]\ncapabilities = [\"pul\"]\n"), HasSubstr(":2: capab"));
  EXPECT_THAT(error("[host.\"https://m\"]\nca = \"none.crt\"\n"), HasSubstr(":2: ca: "));
  EXPECT_THAT(error("[host.\"https://m\"]\nclient = [[\"a\",\"b\",\"c\"]]\n"), HasSubstr(":2: cl"));
  EXPECT_THAT(error("[host.\"https://m\"]\nclient = \"none.pem\"\n"), HasSubstr("does not exist"));
  EXPECT_THAT(error("[host.\"https://m\"]\nskip_verify = 1\n"), HasSubstr(":2: skip_verify"));
  EXPECT_THAT(error("[host.\"https://m\"]\ndial_timeout = \"30\"\n"), HasSubstr(":2: dial_ti"));
  EXPECT_THAT(error("[host.\"https://m\"]\nheader = 3\n"), HasSubstr(":2: header"));
  EXPECT_THAT(error("[host.\"https://u:p@m\"]\n"), HasSubstr(":1: URL"));
  EXPECT_THAT(error("host = 3\n"), HasSubstr(":1: host"));
  EXPECT_THAT(error("host.x = 3\n"), HasSubstr(":1: host.\"x\""));
  EXPECT_THAT(error(std::string("\n[\0\0", 4)), HasSubstr(":2: "));
  EXPECT_THAT(error("\n\n[=x]\n"), HasSubstr(":3: "));
  EXPECT_EQ(error("unknown = true\n"), "no error");
}

}  // namespace
}  // namespace skiff::registry
