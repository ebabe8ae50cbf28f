#include "tests/lib/docker_registry.h"

#include <crypt.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <stdexcept>
#include <thread>

#include <fmt/format.h>

#include "tests/lib/temp_dir.h"

namespace skiff::testing {
namespace {

constexpr char kListening[] = "listening on 127.0.0.1:";

// The registry takes bcrypt only.
std::string htpasswd_line(const std::string& user, const std::string& password) {
  crypt_data data{};
  const char* hash = crypt_r(password.c_str(), "$2y$05$abcdefghijklmnopqrstuu", &data);
  return fmt::format("{}:{}\n", user, hash);
}

std::string configuration(const DockerRegistry::Options& options, const TempDir& dir) {
  std::string text = fmt::format(
      "version: 0.1\n"
      "log: {{accesslog: {{disabled: false}}, level: info}}\n"
      "storage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n"
      "http:\n  addr: 127.0.0.1:0\n  secret: only-for-tests\n",
      dir / "data");
  const ServerTls& tls = options.tls;
  if (!tls.cert_file.empty()) {
    text += fmt::format("  tls:\n    certificate: {}\n    key: {}\n", tls.cert_file, tls.key_file);
    if (!tls.client_ca_file.empty())
      text += fmt::format("    clientcas: [{}]\n", tls.client_ca_file);
  }
  if (!options.users.empty()) {
    std::string lines;
    for (auto& [user, password] : options.users) lines += htpasswd_line(user, password);
    text +=
        fmt::format("auth:\n  htpasswd: {{realm: test, path: {}}}\n", dir.write("htpasswd", lines));
  }
  if (!options.token_realm.empty())
    text += fmt::format(
        "auth:\n  token:\n    realm: {}\n    service: {}\n    issuer: {}\n    rootcertbundle: {}\n",
        options.token_realm, options.token_service, options.token_issuer, options.token_certs);
  return text;
}

}  // namespace

struct DockerRegistry::Impl {
  TempDir dir;
  bool tls = false;
  pid_t pid = -1;
  int output = -1;
  mutable std::mutex mutex;
  std::condition_variable changed;
  std::string log;
  bool ended = false;
  std::jthread reader;

  void start(const std::string& program, const std::string& config);
  void read_all();
  std::string port() const {
    size_t at = log.find(kListening);
    if (at == log.npos) return {};
    at += sizeof kListening - 1;
    size_t end = log.find_first_not_of("0123456789", at);
    return end == log.npos ? "" : log.substr(at, end - at);
  }
};

std::string DockerRegistry::program() {
  for (const char* path : {"/usr/bin/docker-registry", "/usr/local/bin/docker-registry"})
    if (access(path, X_OK) == 0) return path;
  return {};
}

void DockerRegistry::Impl::start(const std::string& program, const std::string& config) {
  int pipe[2];
  if (pipe2(pipe, O_CLOEXEC)) throw std::runtime_error("docker-registry: no pipe");
  pid_t parent = getpid();
  pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(127);
    dup2(pipe[1], 1);
    dup2(pipe[1], 2);
    execl(program.c_str(), program.c_str(), "serve", config.c_str(), nullptr);
    _exit(127);
  }
  close(pipe[1]);
  output = pipe[0];
  reader = std::jthread([this] { read_all(); });
}

void DockerRegistry::Impl::read_all() {
  char buffer[4096];
  for (;;) {
    ssize_t n = read(output, buffer, sizeof buffer);
    std::lock_guard lock(mutex);
    if (n <= 0)
      ended = true;
    else
      log.append(buffer, n);
    changed.notify_all();
    if (ended) return;
  }
}

DockerRegistry::DockerRegistry(const Options& options) : impl_(new Impl) {
  impl_->tls = !options.tls.cert_file.empty();
  std::string config = impl_->dir.write("config.yml", configuration(options, impl_->dir));
  impl_->start(program(), config);
  std::unique_lock lock(impl_->mutex);
  bool up = impl_->changed.wait_for(lock, std::chrono::seconds(60),
                                    [&] { return impl_->ended || !impl_->port().empty(); });
  if (!up || impl_->ended)
    throw std::runtime_error("docker-registry does not listen: " + impl_->log);
}

DockerRegistry::~DockerRegistry() {
  kill(impl_->pid, SIGKILL);
  waitpid(impl_->pid, nullptr, 0);
  impl_->reader.join();
  close(impl_->output);
}

std::string DockerRegistry::host() const {
  std::lock_guard lock(impl_->mutex);
  return "127.0.0.1:" + impl_->port();
}

std::string DockerRegistry::url() const { return (impl_->tls ? "https://" : "http://") + host(); }

std::string DockerRegistry::log() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->log;
}

}  // namespace skiff::testing
