#include "bin/skiff/docker_config.h"

#include <cstdlib>

#include "bin/skiff/base64.h"
#include "bin/skiff/credential_helper.h"

namespace skiff::cli {
namespace {

const CrashPoint kReplaceConfig{"cli.config.replace"};

constexpr size_t kMaxFile = 4 << 20;
constexpr char kDockerHub[] = "docker.io";
// The name under which Docker keeps what belongs to docker.io.
constexpr char kDockerHubKey[] = "https://index.docker.io/v1/";

std::string key_of(const std::string& host) { return host == kDockerHub ? kDockerHubKey : host; }

// The host in a key, which old clients wrote as a URL: "https://gcr.io/v1/" is "gcr.io".
std::string_view host_of(std::string_view key) {
  for (std::string_view scheme : {"https://", "http://"})
    if (key.starts_with(scheme)) key.remove_prefix(scheme.size());
  key = key.substr(0, key.find('/'));
  return key == "index.docker.io" || key == "registry-1.docker.io" ? kDockerHub : key;
}

Result<native::Credential> read_auth(const json::Value& entry) {
  native::Credential out;
  out.identity_token = SKIFF_TRY(entry.get_string("identitytoken", ""));
  out.registry_token = SKIFF_TRY(entry.get_string("registrytoken", ""));
  out.username = SKIFF_TRY(entry.get_string("username", ""));
  out.password = SKIFF_TRY(entry.get_string("password", ""));
  std::string auth = SKIFF_TRY(entry.get_string("auth", ""));
  if (auth.empty()) return out;
  std::string pair = SKIFF_TRY_WRAP(base64_decode(auth), "\"auth\"");
  size_t colon = pair.find(':');
  if (colon == std::string::npos)
    return fail(Code::kInvalidArgument, "\"auth\": no colon between name and password");
  out.username = pair.substr(0, colon);
  out.password = pair.substr(colon + 1);
  // Docker once ended passwords with NUL bytes.
  while (out.password.ends_with('\0')) out.password.pop_back();
  return out;
}

bool holds_nothing(const native::Credential& credential) {
  return credential.username.empty() && credential.identity_token.empty() &&
         credential.registry_token.empty();
}

}  // namespace

sys::Path DockerConfig::default_path() {
  if (const char* folder = std::getenv("DOCKER_CONFIG"); folder && *folder)
    return sys::Path(folder) / "config.json";
  const char* home = std::getenv("HOME");
  return sys::Path(home && *home ? home : "/root") / ".docker" / "config.json";
}

Result<DockerConfig> DockerConfig::load(const sys::Path& file) {
  auto text = sys::read_file(file, kMaxFile);
  if (!text && text.error().is(Code::kNotFound)) return DockerConfig(file, json::Value::object());
  if (!text) return std::unexpected(text.error());
  auto document = json::parse(*text);
  if (!document) return std::unexpected(document.error().wrap(file.string()));
  if (!document->is_object())
    return fail(Code::kInvalidArgument, "{}: {}, no object", file.string(),
                json::type_name(document->type()));
  return DockerConfig(file, *std::move(document));
}

std::string DockerConfig::helper_for(const std::string& host) const {
  if (const json::Value* helpers = document_.find("credHelpers"); helpers && helpers->is_object()) {
    for (const json::Member& member : **helpers->as_object())
      if (host_of(member.key) == host && member.value.is_string())
        return std::string(*member.value.as_string());
  }
  return document_.get_string("credsStore", "").value_or("");
}

const json::Member* DockerConfig::find_auth(const std::string& host) const {
  const json::Value* auths = document_.find("auths");
  if (!auths || !auths->is_object()) return nullptr;
  const json::Member* found = nullptr;
  for (const json::Member& member : **auths->as_object()) {
    if (member.key == key_of(host) || member.key == host) return &member;
    if (host_of(member.key) == host) found = &member;
  }
  return found;
}

Result<std::optional<native::Credential>> DockerConfig::find(const Context& context,
                                                             const std::string& host) const {
  std::optional<native::Credential> found;
  if (std::string helper = helper_for(host); !helper.empty())
    found = SKIFF_TRY(CredentialHelper(helper).get(context, key_of(host)));
  const json::Member* entry = found ? nullptr : find_auth(host);
  if (entry)
    found = SKIFF_TRY_WRAP(read_auth(entry->value), "{}: auths: {}", file_.string(), entry->key);
  if (!found || holds_nothing(*found)) return std::nullopt;
  found->host = host;
  return found;
}

Result<std::string> DockerConfig::store(const Context& context,
                                        const native::Credential& credential) {
  std::string key = key_of(credential.host);
  std::string helper = helper_for(credential.host);
  json::Value entry = json::Value::object();
  if (!helper.empty()) {
    SKIFF_TRY(CredentialHelper(helper).store(context, key, credential));
  } else if (!credential.identity_token.empty()) {
    entry.set("auth", base64_encode(credential.username + ":"));
    entry.set("identitytoken", credential.identity_token);
  } else {
    entry.set("auth", base64_encode(credential.username + ":" + credential.password));
  }
  json::Value* auths = document_.find_mutable("auths");
  if (!auths || !auths->is_object()) auths = &document_.set("auths", json::Value::object());
  auths->set(key, std::move(entry));
  SKIFF_TRY(save());
  return helper.empty() ? file_.string() : "the credential helper " + helper;
}

Result<bool> DockerConfig::erase(const Context& context, const std::string& host) {
  bool was_there = false;
  if (std::string helper = helper_for(host); !helper.empty()) {
    CredentialHelper program(helper);
    was_there = SKIFF_TRY(program.get(context, key_of(host))).has_value();
    if (was_there) SKIFF_TRY(program.erase(context, key_of(host)));
  }
  bool in_file = false;
  while (const json::Member* entry = find_auth(host)) {
    std::string key = entry->key;
    document_.find_mutable("auths")->erase(key);
    in_file = true;
  }
  if (in_file) SKIFF_TRY(save());
  return was_there || in_file;
}

Status DockerConfig::save() const {
  sys::Path file = file_;
  SKIFF_TRY(sys::make_dirs(file.parent_path(), 0700));
  // People link this file to where they keep their dot files; the link stays.
  std::error_code error;
  if (auto target = std::filesystem::canonical(file, error); !error) file = target;
  return sys::replace_file(kReplaceConfig, file, json::dump(document_, 2) + "\n", 0600);
}

}  // namespace skiff::cli
