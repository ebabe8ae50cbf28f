// skiffd's command line. Everything it does is in daemon.h.
#include <cstdio>

#include <CLI/CLI.hpp>

#include "base/crash_point.h"
#include "base/version.h"
#include "bin/skiffd/daemon.h"
#include "bin/skiffd/settings.h"

namespace skiff::daemon {
namespace {

// What stands on the command line counts before the file.
struct Flags {
  std::string config;
  std::string root, state, address, log_level;

  Result<Settings> settings() const {
    Settings settings =
        SKIFF_TRY(load_settings(config.empty() ? kDefaultConfig : config, !config.empty()));
    if (!root.empty()) settings.root = root;
    if (!state.empty()) settings.state = state;
    if (!address.empty()) settings.native.address = address;
    if (!log_level.empty()) settings.log.level = log_level;
    SKIFF_TRY(check_settings(settings));
    return settings;
  }
};

int complain(const Error& error) {
  std::fprintf(stderr, "skiffd: %s\n", error.message().c_str());
  return 1;
}

int run_daemon(const Flags& flags) {
  auto settings = flags.settings();
  if (!settings) return complain(settings.error());
  Status ended = run(*settings);
  return ended ? 0 : complain(ended.error());
}

int check_config(const std::string& file) {
  auto settings = load_settings(file.empty() ? kDefaultConfig : file, !file.empty());
  Status good = settings ? check_settings(*settings) : std::unexpected(settings.error());
  if (!good) return complain(good.error());
  return 0;
}

int print_crash_points() {
  for (const CrashPoint* point : CrashPoint::all()) std::puts(point->name());
  return 0;
}

int main(int count, char** arguments) {
  CLI::App app{"skiff's daemon: images, layers and containers on this host."};
  app.set_version_flag("--version", std::string("skiffd ") + kVersion);
  Flags flags;
  app.add_option("--config", flags.config, fmt::format("configuration file [{}]", kDefaultConfig));
  app.add_option("--root", flags.root, "where images, layers and metadata are kept");
  app.add_option("--state", flags.state, "sockets and the state of running containers");
  app.add_option("--address", flags.address, "unix socket of the native API");
  app.add_option("--log-level", flags.log_level, "debug, info, warning or error");

  auto* config =
      app.add_subcommand("config", "print or check a configuration")->require_subcommand(1);
  auto* config_default =
      config->add_subcommand("default", "print every key with its meaning and default");
  auto* config_check = config->add_subcommand("check", "say whether a configuration file is right");
  std::string file;
  config_check->add_option("FILE", file, fmt::format("[{}]", kDefaultConfig));
  auto* crash_points =
      app.add_subcommand("crash-points", "list the places where crash tests end the daemon");
  app.require_subcommand(0, 1);
  CLI11_PARSE(app, count, arguments);

  if (*config_default) return std::fputs(default_settings_toml().c_str(), stdout) < 0;
  if (*config_check) return check_config(file);
  if (*crash_points) return print_crash_points();
  return run_daemon(flags);
}

}  // namespace
}  // namespace skiff::daemon

int main(int count, char** arguments) { return skiff::daemon::main(count, arguments); }
