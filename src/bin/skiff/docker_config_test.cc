#include "bin/skiff/docker_config.h"

#include <cstdlib>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bin/skiff/base64.h"
#include "tests/lib/temp_dir.h"

namespace skiff::cli {
namespace {

// A helper as docker-credential-helpers describes them, keeping one file a server.
constexpr char kHelper[] = R"sh(#!/bin/sh
dir=$(dirname "$0")/secrets
mkdir -p "$dir"
case "$1" in
get)
  read -r server
  file=$dir/$(printf %s "$server" | tr -c 'a-z0-9.\n' _)
  if [ -e "$file" ]; then cat "$file"; else echo 'credentials not found in native keychain'; exit 1; fi ;;
store)
  input=$(cat)
  server=$(printf %s "$input" | sed 's/.*"ServerURL":"\([^"]*\)".*/\1/')
  printf %s "$input" > "$dir/$(printf %s "$server" | tr -c 'a-z0-9.\n' _)" ;;
erase)
  read -r server
  rm "$dir/$(printf %s "$server" | tr -c 'a-z0-9.\n' _)" ;;
esac
)sh";

class DockerConfigTest : public ::testing::Test {
 protected:
  DockerConfigTest() : path_before_(std::getenv("PATH")) {}
  ~DockerConfigTest() override { setenv("PATH", path_before_.c_str(), 1); }

  DockerConfig load(const std::string& text) {
    auto config = DockerConfig::load(folder_.write("config.json", text));
    EXPECT_TRUE(config) << config.error().message();
    return *std::move(config);
  }
  std::optional<native::Credential> find(const std::string& text, const std::string& host) {
    auto found = load(text).find(Context(), host);
    EXPECT_TRUE(found) << found.error().message();
    return found.value_or(std::nullopt);
  }
  void install_helper(const std::string& name, const std::string& script) {
    std::string file = folder_.write("bin/docker-credential-" + name, script);
    chmod(file.c_str(), 0755);
    setenv("PATH", ((folder_ / "bin") + ":" + path_before_).c_str(), 1);
  }
  std::string stored() { return *sys::read_file(folder_ / "config.json"); }

  skiff::testing::TempDir folder_;
  std::string path_before_;
};

TEST(Base64, IsRfc4648) {
  for (auto [plain, coded] : std::initializer_list<std::pair<std::string, std::string>>{
           {"", ""},
           {"f", "Zg=="},
           {"fo", "Zm8="},
           {"foo", "Zm9v"},
           {"foobar", "Zm9vYmFy"},
           {std::string("\xff\x00\xfe", 3), "/wD+"}}) {
    EXPECT_EQ(base64_encode(plain), coded);
    EXPECT_EQ(base64_decode(coded), plain);
  }
  EXPECT_EQ(base64_decode("Zg"), "f");
  for (std::string_view bad : {"Z", "Zm9v!", "Zg===", "Z=g="})
    EXPECT_FALSE(base64_decode(bad)) << bad;
}

TEST_F(DockerConfigTest, AMissingFileIsEmpty) {
  auto config = DockerConfig::load(folder_ / "nowhere/config.json");
  ASSERT_TRUE(config);
  EXPECT_EQ(config->find(Context(), "docker.io"), std::nullopt);
}

TEST_F(DockerConfigTest, ReadsNamesAndPasswords) {
  std::string text = R"({"auths": {
      "https://index.docker.io/v1/": {"auth": "dXNlcjpwYTpzcw=="},
      "localhost:5000": {"auth": "bWU6eA=="},
      "https://gcr.io/v2/": {"identitytoken": "refresh", "auth": "aWQ6"},
      "quay.io": {"registrytoken": "bearer"},
      "empty.io": {}}})";
  auto hub = find(text, "docker.io");
  ASSERT_TRUE(hub);
  EXPECT_EQ(hub->host, "docker.io");
  EXPECT_EQ(hub->username, "user");
  EXPECT_EQ(hub->password, "pa:ss");
  EXPECT_EQ(find(text, "localhost:5000")->username, "me");
  EXPECT_EQ(find(text, "gcr.io")->identity_token, "refresh");
  EXPECT_EQ(find(text, "quay.io")->registry_token, "bearer");
  EXPECT_EQ(find(text, "empty.io"), std::nullopt);
  EXPECT_EQ(find(text, "localhost"), std::nullopt);
}

TEST_F(DockerConfigTest, ErrorsNameTheFileAndNeverTheSecret) {
  auto malformed = DockerConfig::load(folder_.write("config.json", R"({"auths": "s3cret)"));
  ASSERT_FALSE(malformed);
  EXPECT_NE(malformed.error().message().find("config.json"), std::string::npos);
  EXPECT_EQ(malformed.error().message().find("s3cret"), std::string::npos);
  auto found = load(R"({"auths": {"a.io": {"auth": "s3cret!"}}})").find(Context(), "a.io");
  ASSERT_FALSE(found);
  EXPECT_NE(found.error().message().find("a.io"), std::string::npos);
  EXPECT_EQ(found.error().message().find("s3cret"), std::string::npos);
}

TEST_F(DockerConfigTest, StoresWithoutTouchingTheRest) {
  DockerConfig config = load(R"({"HttpHeaders": {"a": "b"}, "auths": {"x.io": {"auth": "YTpi"}}})");
  EXPECT_EQ(config.store(Context(), {"docker.io", "user", "pass", "", ""}).value(),
            folder_ / "config.json");
  struct stat info{};
  ASSERT_EQ(stat((folder_ / "config.json").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_NE(stored().find("HttpHeaders"), std::string::npos);
  EXPECT_NE(stored().find("https://index.docker.io/v1/"), std::string::npos);
  EXPECT_EQ(find(stored(), "x.io")->username, "a");
  EXPECT_EQ(find(stored(), "docker.io")->password, "pass");

  EXPECT_TRUE(load(stored()).erase(Context(), "docker.io").value());
  EXPECT_EQ(find(stored(), "docker.io"), std::nullopt);
  EXPECT_EQ(find(stored(), "x.io")->username, "a");
  EXPECT_FALSE(load(stored()).erase(Context(), "docker.io").value());
}

TEST_F(DockerConfigTest, ALinkedFileStaysALink) {
  std::string real = folder_.write("dotfiles/docker.json", "{}");
  ASSERT_EQ(symlink(real.c_str(), (folder_ / "config.json").c_str()), 0);
  auto config = DockerConfig::load(folder_ / "config.json");
  ASSERT_TRUE(config->store(Context(), {"a.io", "u", "p", "", ""}));
  EXPECT_TRUE(std::filesystem::is_symlink(folder_ / "config.json"));
  EXPECT_NE(sys::read_file(real)->find("a.io"), std::string::npos);
}

TEST_F(DockerConfigTest, AsksTheHelper) {
  install_helper("fake", kHelper);
  std::string text = R"({"credsStore": "fake", "credHelpers": {"none.io": ""}})";
  DockerConfig config = load(text);
  EXPECT_EQ(config.store(Context(), {"docker.io", "user", "pa\"ss", "", ""}).value(),
            "the credential helper fake");
  EXPECT_EQ(stored().find("pa"), std::string::npos) << "the secret went to the file";
  auto found = find(stored(), "docker.io");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->username, "user");
  EXPECT_EQ(found->password, "pa\"ss");
  EXPECT_EQ(find(stored(), "other.io"), std::nullopt);
  EXPECT_TRUE(load(stored()).erase(Context(), "docker.io").value());
  EXPECT_EQ(find(stored(), "docker.io"), std::nullopt);
}

TEST_F(DockerConfigTest, AHelperOfOneHostComesFirst) {
  install_helper("one",
                 "#!/bin/sh\nread -r s\necho '{\"Username\":\"<token>\",\"Secret\":\"t\"}'\n");
  std::string text =
      R"({"credHelpers": {"gcr.io": "one"}, "auths": {"gcr.io": {"auth": "YTpi"}, "b.io": {"auth": "YTpi"}}})";
  EXPECT_EQ(find(text, "gcr.io")->identity_token, "t");
  EXPECT_EQ(find(text, "gcr.io")->username, "");
  EXPECT_EQ(find(text, "b.io")->username, "a");
}

TEST_F(DockerConfigTest, HelpersThatFailAreErrors) {
  auto missing = load(R"({"credsStore": "not-there"})").find(Context(), "a.io");
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message().find("docker-credential-not-there is not on $PATH"),
            std::string::npos);
  install_helper("bad", "#!/bin/sh\necho 'the key ring is locked' >&2\nexit 3\n");
  auto locked = load(R"({"credsStore": "bad"})").find(Context(), "a.io");
  ASSERT_FALSE(locked);
  EXPECT_NE(locked.error().message().find("the key ring is locked"), std::string::npos);
  install_helper("odd", "#!/bin/sh\necho s3cret\n");
  auto odd = load(R"({"credsStore": "odd"})").find(Context(), "a.io");
  ASSERT_FALSE(odd);
  EXPECT_EQ(odd.error().message().find("s3cret"), std::string::npos);
}

}  // namespace
}  // namespace skiff::cli
