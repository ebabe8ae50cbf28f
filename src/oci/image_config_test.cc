#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "oci/descriptor.h"

namespace skiff::oci {
namespace {

using testing::ElementsAre;

TEST(ImageConfig, ReadsWhatContainersInherit) {
  std::string text = fmt::format(R"({{
    "architecture": "arm64", "os": "linux", "variant": "v8", "created": "2026-01-02T03:04:05Z",
    "author": "me",
    "config": {{"User": "redis:redis", "Env": ["A=1", "B=2"], "Entrypoint": ["/entry"],
      "Cmd": ["run", "x"], "WorkingDir": "/data", "Volumes": {{"/data": {{}}}},
      "ExposedPorts": {{"6379/tcp": {{}}}}, "StopSignal": "SIGQUIT", "Labels": {{"k": "v"}}}},
    "rootfs": {{"type": "layers", "diff_ids": ["sha256:{}", "sha256:{}"]}}}})",
                                 std::string(64, '1'), std::string(64, '2'));
  ImageConfig config = ImageConfig::parse(text).value();
  EXPECT_EQ(config.platform.str(), "linux/arm64/v8");
  EXPECT_EQ(config.created, "2026-01-02T03:04:05Z");
  EXPECT_EQ(config.author, "me");
  EXPECT_EQ(config.user, "redis:redis");
  EXPECT_THAT(config.env, ElementsAre("A=1", "B=2"));
  EXPECT_THAT(config.entrypoint, ElementsAre("/entry"));
  EXPECT_THAT(config.cmd, ElementsAre("run", "x"));
  EXPECT_EQ(config.working_dir, "/data");
  EXPECT_THAT(config.volumes, ElementsAre("/data"));
  EXPECT_THAT(config.exposed_ports, ElementsAre("6379/tcp"));
  EXPECT_EQ(config.stop_signal, "SIGQUIT");
  EXPECT_EQ(config.labels.at("k"), "v");
  EXPECT_EQ(config.diff_ids.size(), 2u);
}

TEST(ImageConfig, ToleratesGosNullsAndOldForms) {
  ImageConfig config = ImageConfig::parse(R"({"config": {"Env": null, "Cmd": "sh", "Volumes": null},
                             "rootfs": {"type": "layers", "diff_ids": null}})")
                           .value();
  EXPECT_TRUE(config.env.empty());
  EXPECT_THAT(config.cmd, ElementsAre("sh"));
  EXPECT_TRUE(config.diff_ids.empty());
  EXPECT_TRUE(ImageConfig::parse(R"({"config": null, "rootfs": {}})"));
}

std::string failure(std::string_view text) {
  auto result = ImageConfig::parse(text);
  if (result) return "no error";
  EXPECT_EQ(result.error().code(), Code::kInvalidArgument);
  return result.error().message();
}

TEST(ImageConfig, ErrorsNameTheField) {
  EXPECT_NE(failure("{}").find("\"rootfs\" is missing"), std::string::npos);
  EXPECT_NE(failure("[]").find("no object"), std::string::npos);
  EXPECT_NE(failure("{").find("image config: "), std::string::npos);
  EXPECT_NE(failure(R"({"config": {"Env": [1]}, "rootfs": {}})").find("config: \"Env\""),
            std::string::npos);
  EXPECT_NE(failure(R"({"rootfs": {"type": "squash"}})").find("\"squash\""), std::string::npos);
  EXPECT_NE(failure(R"({"rootfs": {"diff_ids": ["sha256:x"]}})").find("rootfs: diff_ids[0]: "),
            std::string::npos);
  EXPECT_NE(failure(std::string(kMaxConfigBytes + 1, ' ')).find("more than"), std::string::npos);
}

}  // namespace
}  // namespace skiff::oci
