#include "bin/skiffd/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sys/socket.h"

namespace skiff::daemon {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string error_of(std::string_view text) {
  auto settings = parse_settings(text, "skiff.toml");
  return settings ? "no error" : settings.error().message();
}

TEST(Settings, EmptyTextMeansDefaults) {
  auto settings = parse_settings("", "skiff.toml");
  ASSERT_TRUE(settings);
  EXPECT_EQ(settings->root, "/var/lib/skiff");
  EXPECT_EQ(settings->native_address(), "/run/skiff/skiff.sock");
  EXPECT_TRUE(check_settings(*settings));
}

TEST(Settings, ReadsEachType) {
  auto settings = parse_settings(R"(
    root = "/data"
    oom_score = -500
    [native]
    mode = "0600"
    [pull]
    piece_size = "4MiB"
    max_layer_size = 12345
    content_sharing_policy = "isolated"
    [registry]
    config_path = ["/a", "/b"]
    progress_timeout = "90s"
    [snapshotter.proxy.stargz]
    address = "/run/stargz.sock"
    remote = true)",
                                 "skiff.toml");
  ASSERT_TRUE(settings) << settings.error().message();
  EXPECT_EQ(settings->root, "/data");
  EXPECT_EQ(settings->oom_score, -500);
  EXPECT_EQ(settings->native.mode.bits, 0600u);
  EXPECT_EQ(settings->pull.piece_size.bytes, 4u << 20);
  EXPECT_EQ(settings->pull.max_layer_size.bytes, 12345u);
  EXPECT_EQ(settings->registry.config_path.size(), 2u);
  EXPECT_EQ(settings->registry.progress_timeout, std::chrono::seconds(90));
  EXPECT_TRUE(settings->snapshotter.proxies.at("stargz").remote);
}

TEST(Settings, AnUnknownKeyNamesFileLineAndTheNearest) {
  EXPECT_THAT(error_of("[pull]\nlayer_fetchs = 3\n"),
              AllOf(HasSubstr("skiff.toml:2"), HasSubstr("\"pull.layer_fetchs\""),
                    HasSubstr("did you mean \"pull.layer_fetches\"?")));
  EXPECT_THAT(error_of("rooot = \"/x\""), HasSubstr("did you mean \"root\"?"));
  EXPECT_THAT(error_of("[snapshotter.proxy.x]\nadress = \"/x\""),
              HasSubstr("did you mean \"snapshotter.proxy.x.address\"?"));
}

TEST(Settings, AWrongTypeOrValueSaysWhatWasExpected) {
  EXPECT_THAT(error_of("\nroot = 3"), HasSubstr("skiff.toml:2: root: expected a string"));
  EXPECT_THAT(error_of("[pull]\nlayer_fetches = 0"), HasSubstr("from 1 to 256"));
  EXPECT_THAT(error_of("[pull]\npiece_size = \"8 parsec\""), HasSubstr("expected a size"));
  EXPECT_THAT(error_of("[gc]\ndelay = 5"), HasSubstr("expected a duration"));
  EXPECT_THAT(error_of("[log]\nlevel = \"loud\""), HasSubstr("one of debug, info, warning, error"));
  EXPECT_THAT(error_of("[native]\nmode = \"0999\""), HasSubstr("a mode"));
  EXPECT_THAT(error_of("root = 1979-05-27"), HasSubstr("skiff.toml:1: root: dates"));
  EXPECT_THAT(error_of("root = "), HasSubstr("skiff.toml:1"));
}

TEST(Settings, ThePrintedDefaultsParseToThemselves) {
  std::string text = default_settings_toml();
  auto settings = parse_settings(text, "default");
  ASSERT_TRUE(settings) << settings.error().message();
  EXPECT_EQ(settings->pull.free_space_reserve.bytes, Settings().pull.free_space_reserve.bytes);
  EXPECT_EQ(settings->gc.interval, Settings().gc.interval);
  EXPECT_EQ(settings->native.mode.bits, Settings().native.mode.bits);
}

TEST(Settings, AProxySocketMustBeThereWithoutAScheme) {
  sys::TempDir dir;
  std::string socket = dir.path() / "s.sock";
  auto listener = sys::listen_unix(socket, 0600);
  ASSERT_TRUE(listener);
  auto check = [](std::string address) {
    Settings settings;
    settings.snapshotter.proxies["p"].address = std::move(address);
    auto status = check_settings(settings);
    return status ? "fine" : status.error().message();
  };
  EXPECT_EQ(check(socket), "fine");
  EXPECT_THAT(check("unix://" + socket), HasSubstr("snapshotter.proxy.p.address"));
  EXPECT_THAT(check("s.sock"), HasSubstr("no absolute path"));
  EXPECT_THAT(check(socket + "x"), HasSubstr("No such file"));
  EXPECT_THAT(check(dir.path()), HasSubstr("no socket"));
}

TEST(Settings, ADefaultSnapshotterMustExist) {
  Settings settings;
  settings.snapshotter.fallback = "btrfs";
  EXPECT_THAT(check_settings(settings).error().message(), HasSubstr("no snapshotter \"btrfs\""));
}

TEST(Settings, AMissingFileIsAnErrorOnlyWhenItWasNamed) {
  EXPECT_TRUE(load_settings("/nonexistent/skiff.toml", false));
  EXPECT_FALSE(load_settings("/nonexistent/skiff.toml", true));
}

}  // namespace
}  // namespace skiff::daemon
