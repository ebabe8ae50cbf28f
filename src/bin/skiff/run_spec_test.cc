#include "bin/skiff/run_spec.h"

#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/lib/temp_dir.h"

namespace skiff::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(RunSpec, CarriesTheOptions) {
  setenv("SKIFF_TEST_VALUE", "here", 1);
  unsetenv("SKIFF_TEST_NONE");
  skiff::testing::TempDir folder;
  RunOptions options;
  options.image = "busybox";
  options.command = {"ls", "-l"};
  options.env_files = {
      folder.write("env", "# comment\n\nA=1\n  B=x y\r\nSKIFF_TEST_VALUE\nSKIFF_TEST_NONE\n")};
  options.env = {"A=2", "SKIFF_TEST_VALUE", "SKIFF_TEST_NONE", "E="};
  options.volumes = {"/data:/d:ro,rshared"};
  options.tmpfs = {"/tmp:size=64m"};
  options.labels = {"k=v", "flag"};
  options.sysctls = {"net.ipv4.ip_forward=1"};
  options.network = "host";
  options.memory = "64m";
  options.remove = options.tty = true;
  auto spec = container_spec(options);
  ASSERT_TRUE(spec) << spec.error().message();
  EXPECT_EQ(spec->id.size(), 64u);
  EXPECT_EQ(spec->image, "busybox");
  EXPECT_EQ(spec->entrypoint, std::nullopt);
  EXPECT_THAT(spec->command, ElementsAre("ls", "-l"));
  EXPECT_THAT(spec->env, ElementsAre("A=1", "B=x y", "SKIFF_TEST_VALUE=here", "A=2",
                                     "SKIFF_TEST_VALUE=here", "SKIFF_TEST_NONE", "E="));
  ASSERT_EQ(spec->mounts.size(), 2u);
  EXPECT_EQ(spec->mounts[0].source, "/data");
  EXPECT_TRUE(spec->mounts[0].read_only);
  EXPECT_THAT(spec->mounts[0].options, ElementsAre("rshared"));
  EXPECT_EQ(spec->mounts[1].type, native::MountType::kTmpfs);
  EXPECT_EQ(spec->mounts[1].target, "/tmp");
  EXPECT_EQ(spec->labels.at("k"), "v");
  EXPECT_EQ(spec->labels.at("flag"), "");
  EXPECT_EQ(spec->sysctls.at("net.ipv4.ip_forward"), "1");
  EXPECT_EQ(spec->network, native::Network::kHost);
  EXPECT_EQ(spec->memory_bytes, 64u << 20);
  EXPECT_TRUE(spec->auto_remove);
  EXPECT_TRUE(spec->tty);
}

TEST(RunSpec, AnEmptyEntrypointTakesTheImagesAway) {
  RunOptions options;
  options.entrypoint = "";
  EXPECT_TRUE(container_spec(options)->entrypoint->values.empty());
  options.entrypoint = "/bin/sh";
  EXPECT_THAT(container_spec(options)->entrypoint->values, ElementsAre("/bin/sh"));
}

TEST(RunSpec, RelativeHostPathsAreBelowTheCurrentFolder) {
  std::string here = std::filesystem::current_path().string();
  EXPECT_EQ(parse_volume("./a/../b/:/t")->source, here == "/" ? "/b" : here + "/b");
  EXPECT_EQ(parse_volume("/:/host")->source, "/");
}

std::string failure(void (*change)(RunOptions&)) {
  RunOptions options;
  change(options);
  auto spec = container_spec(options);
  return spec ? "no error" : spec.error().message();
}

TEST(RunSpec, ErrorsNameTheOption) {
  EXPECT_THAT(failure([](RunOptions& o) { o.volumes = {"data:/d"}; }), HasSubstr("named volumes"));
  EXPECT_THAT(failure([](RunOptions& o) { o.volumes = {"/a"}; }), HasSubstr("--volume \"/a\""));
  EXPECT_THAT(failure([](RunOptions& o) { o.volumes = {"/a:b"}; }), HasSubstr("absolute"));
  EXPECT_THAT(failure([](RunOptions& o) { o.volumes = {"/a:/"}; }), HasSubstr("not /"));
  EXPECT_THAT(failure([](RunOptions& o) { o.volumes = {"/a:/b:ro:x"}; }), HasSubstr("--volume"));
  EXPECT_THAT(failure([](RunOptions& o) { o.tmpfs = {"tmp"}; }), HasSubstr("--tmpfs"));
  EXPECT_THAT(failure([](RunOptions& o) { o.env = {"=x"}; }), HasSubstr("--env"));
  EXPECT_THAT(failure([](RunOptions& o) { o.env_files = {"/nowhere"}; }), HasSubstr("--env-file"));
  EXPECT_THAT(failure([](RunOptions& o) { o.network = "bridge"; }), HasSubstr("--net \"bridge\""));
  EXPECT_THAT(failure([](RunOptions& o) { o.memory = "much"; }), HasSubstr("--memory"));
  EXPECT_THAT(failure([](RunOptions& o) { o.sysctls = {"x"}; }), HasSubstr("--sysctl"));
  EXPECT_THAT(failure([](RunOptions& o) { o.working_dir = "x"; }), HasSubstr("--workdir"));
  EXPECT_EQ(parse_env_file("f", "A=1\nB C=2\n").error().message(),
            "f:2: \"B C\" is no name of a variable");
}

}  // namespace
}  // namespace skiff::cli
