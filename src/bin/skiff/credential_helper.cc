#include "bin/skiff/credential_helper.h"

#include <cstdlib>

#include <sys/mman.h>

#include "codec/json/json.h"
#include "sys/file.h"
#include "sys/process.h"

namespace skiff::cli {
namespace {

// A helper may ask its user something; one that hangs must not hang the CLI for ever.
constexpr auto kPatience = std::chrono::minutes(2);
// The user name under which helpers hand out OAuth2 refresh tokens.
constexpr std::string_view kTokenUser = "<token>";

Result<std::string> find_program(const std::string& name) {
  const char* path = std::getenv("PATH");
  std::string_view rest = path ? path : "/usr/local/bin:/usr/bin:/bin";
  while (!rest.empty()) {
    size_t colon = rest.find(':');
    std::string candidate = std::string(rest.substr(0, colon)) + "/" + name;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
    rest = colon == std::string_view::npos ? "" : rest.substr(colon + 1);
  }
  return fail(Code::kNotFound,
              "the credential helper {} is not on $PATH; install it, or take it out "
              "of Docker's config.json",
              name);
}

// A file in memory, at its start, for a child's stdin.
Result<sys::UniqueFd> input_file(std::string_view text) {
  sys::UniqueFd fd(memfd_create("skiff-credential", MFD_CLOEXEC));
  if (!fd) return fail_errno(errno, "memfd_create");
  SKIFF_TRY(sys::write_fd(fd.get(), as_bytes(text)));
  if (lseek(fd.get(), 0, SEEK_SET) < 0) return fail_errno(errno, "lseek");
  return fd;
}

bool says_not_found(std::string_view out) {
  return out.find("credentials not found") != std::string_view::npos;
}

std::string first_line(std::string_view text) {
  return std::string(text.substr(0, text.find('\n')));
}

}  // namespace

Result<CredentialHelper::Answer> CredentialHelper::run(const Context& context,
                                                       const std::string& verb,
                                                       std::string_view input) const {
  sys::UniqueFd stdin_fd = SKIFF_TRY(input_file(input));
  sys::SpawnOptions options;
  options.program = SKIFF_TRY(find_program(program_));
  options.args = {program_, verb};
  options.fds = {{stdin_fd.get(), 0}};
  sys::Output output = SKIFF_TRY_WRAP(sys::run_program(context.with_timeout(kPatience), options),
                                      "{} {}", program_, verb);
  return Answer{output.exit.status(), std::move(output.out), std::move(output.err)};
}

Result<std::optional<native::Credential>> CredentialHelper::get(const Context& context,
                                                                const std::string& server) const {
  Answer answer = SKIFF_TRY(run(context, "get", server));
  if (answer.status != 0 && says_not_found(answer.out)) return std::nullopt;
  if (answer.status != 0)
    return fail(Code::kUnavailable, "{} get {}: {}", program_, server,
                first_line(answer.out.empty() ? answer.err : answer.out));
  auto document = json::parse(answer.out);
  // Its text may hold the secret: not a word of it goes into the error.
  if (!document) return fail(Code::kUnavailable, "{} get {}: no JSON came", program_, server);
  native::Credential credential;
  std::string user = document->get_string("Username", "").value_or("");
  std::string secret = document->get_string("Secret", "").value_or("");
  if (secret.empty()) return std::nullopt;
  if (user == kTokenUser) {
    credential.identity_token = std::move(secret);
  } else {
    credential.username = std::move(user);
    credential.password = std::move(secret);
  }
  return credential;
}

Status CredentialHelper::store(const Context& context, const std::string& server,
                               const native::Credential& credential) const {
  bool token = !credential.identity_token.empty();
  json::Value document =
      json::Value::object({{"ServerURL", server},
                           {"Username", token ? std::string(kTokenUser) : credential.username},
                           {"Secret", token ? credential.identity_token : credential.password}});
  Answer answer = SKIFF_TRY(run(context, "store", json::dump(document)));
  if (answer.status == 0) return ok();
  return fail(Code::kUnavailable, "{} store {}: {}", program_, server,
              first_line(answer.out.empty() ? answer.err : answer.out));
}

Status CredentialHelper::erase(const Context& context, const std::string& server) const {
  Answer answer = SKIFF_TRY(run(context, "erase", server));
  if (answer.status == 0 || says_not_found(answer.out)) return ok();
  return fail(Code::kUnavailable, "{} erase {}: {}", program_, server,
              first_line(answer.out.empty() ? answer.err : answer.out));
}

}  // namespace skiff::cli
