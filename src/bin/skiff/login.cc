#include <unistd.h>

#include "bin/skiff/commands.h"
#include "bin/skiff/daemon.h"
#include "bin/skiff/docker_config.h"
#include "bin/skiff/output.h"
#include "bin/skiff/terminal.h"
#include "sys/file.h"

namespace skiff::cli {
namespace {

constexpr size_t kMaxPassword = 64 << 10;

// The registry's name as references have it, from what people type: a host, or a URL.
std::string registry_host(std::string text) {
  if (text.empty()) return "docker.io";
  for (std::string_view scheme : {"https://", "http://"})
    if (text.starts_with(scheme)) text.erase(0, scheme.size());
  text = text.substr(0, text.find('/'));
  return text == "index.docker.io" || text == "registry-1.docker.io" ? "docker.io" : text;
}

Result<std::string> read_password() {
  std::string password = SKIFF_TRY(sys::read_fd(STDIN_FILENO, kMaxPassword));
  while (password.ends_with('\n') || password.ends_with('\r')) password.pop_back();
  return password;
}

Result<native::Credential> ask_credential(const LoginOptions& options, const std::string& host) {
  native::Credential out;
  out.host = host;
  out.username = options.username;
  if (options.password_stdin) {
    if (out.username.empty())
      return fail(Code::kInvalidArgument, "--password-stdin needs --username");
    out.password = SKIFF_TRY(read_password());
  } else {
    if (out.username.empty())
      out.username = SKIFF_TRY_WRAP(ask("User name for " + host + ": ", true),
                                    "ask for a user name (give --username and --password-stdin "
                                    "where there is no terminal)");
    out.password = SKIFF_TRY_WRAP(ask("Password for " + out.username + " at " + host + ": ", false),
                                  "ask for a password (use --password-stdin where there is no "
                                  "terminal)");
  }
  if (out.username.empty() || out.password.empty())
    return fail(Code::kInvalidArgument, "log in to {}: the user name or the password is empty",
                host);
  return out;
}

}  // namespace

Result<int> login(const Global& global, const LoginOptions& options) {
  std::string host = registry_host(options.host);
  DockerConfig config = SKIFF_TRY(DockerConfig::load(DockerConfig::default_path()));
  Daemon daemon = SKIFF_TRY(Daemon::connect(global));
  native::LoginRequest request;
  request.credential = SKIFF_TRY(ask_credential(options, host));
  request.plain_http = options.registry.plain_http;
  request.skip_verify = options.registry.skip_verify;
  SKIFF_TRY(daemon.call<native::Empty>(native::kSystemService, "Login", request));
  std::string place = SKIFF_TRY(config.store(daemon.context(), request.credential));
  if (global.json) {
    print_json(json::Value::object({{"host", host}, {"stored_in", place}}));
  } else {
    print_line(fmt::format("Logged in to {}; the credentials are in {}", host, place));
  }
  return 0;
}

Result<int> logout(const Global& global, const LogoutOptions& options) {
  std::string host = registry_host(options.host);
  DockerConfig config = SKIFF_TRY(DockerConfig::load(DockerConfig::default_path()));
  bool removed = SKIFF_TRY(config.erase(Context(), host));
  if (global.json) {
    print_json(json::Value::object({{"host", host}, {"removed", removed}}));
  } else {
    print_line(removed ? "Removed the credentials for " + host : "Not logged in to " + host);
  }
  return 0;
}

}  // namespace skiff::cli
