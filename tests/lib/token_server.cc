#include "tests/lib/token_server.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <cstdio>
#include <ctime>
#include <stdexcept>
#include <vector>

#include <fmt/format.h>

namespace skiff::testing {
namespace {

constexpr char kService[] = "test-registry";
constexpr char kIssuer[] = "test-issuer";

std::string base64(const std::string& bytes) {
  std::string out((bytes.size() + 2) / 3 * 4 + 1, '\0');
  int n = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                          reinterpret_cast<const unsigned char*>(bytes.data()),
                          static_cast<int>(bytes.size()));
  out.resize(n);
  return out;
}

std::string base64url(const std::string& bytes) {
  std::string out = base64(bytes);
  for (char& c : out) c = c == '+' ? '-' : c == '/' ? '_' : c;
  while (out.ends_with('=')) out.pop_back();
  return out;
}

template <typename T>
T* read_pem(const std::string& path, T* (*read)(FILE*, T**, pem_password_cb*, void*)) {
  FILE* file = fopen(path.c_str(), "re");
  T* object = file ? read(file, nullptr, nullptr, nullptr) : nullptr;
  if (file) fclose(file);
  if (!object) throw std::runtime_error("token server: cannot read " + path);
  return object;
}

std::string certificate_der(const std::string& path) {
  X509* cert = read_pem<X509>(path, PEM_read_X509);
  unsigned char* der = nullptr;
  int size = i2d_X509(cert, &der);
  std::string bytes(reinterpret_cast<char*>(der), size);
  OPENSSL_free(der);
  X509_free(cert);
  return bytes;
}

// "repository:a/b:pull,push" as an entry of the token's access list.
std::string access_entry(const std::string& scope, bool may_push) {
  size_t first = scope.find(':'), last = scope.rfind(':');
  if (first == std::string::npos || first == last) return {};
  std::string actions;
  std::string list = scope.substr(last + 1) + ",";
  for (size_t at = 0, comma; (comma = list.find(',', at)) != std::string::npos; at = comma + 1) {
    std::string action = list.substr(at, comma - at);
    if (action != "pull" && !may_push) continue;
    actions += fmt::format("{}\"{}\"", actions.empty() ? "" : ",", action);
  }
  return fmt::format(R"({{"type":"{}","name":"{}","actions":[{}]}})", scope.substr(0, first),
                     scope.substr(first + 1, last - first - 1), actions);
}

}  // namespace

TokenServer::TokenServer(const TestCa& ca, std::string user, std::string password)
    : user_(std::move(user)),
      password_(std::move(password)),
      ca_file_(ca.cert_file()),
      signer_(ca.issue("token-signer")) {
  server_ = std::make_unique<HttpServer>([this](Exchange& x) { answer(x); });
}

TokenServer::~TokenServer() = default;

DockerRegistry::Options TokenServer::registry_options() const {
  DockerRegistry::Options options;
  options.token_realm = server_->url() + "/token";
  options.token_service = kService;
  options.token_issuer = kIssuer;
  options.token_certs = ca_file_;
  return options;
}

std::string TokenServer::sign(const std::string& claims) const {
  std::string header = fmt::format(R"({{"typ":"JWT","alg":"RS256","x5c":["{}"]}})",
                                   base64(certificate_der(signer_.cert)));
  std::string text = base64url(header) + "." + base64url(claims);
  EVP_PKEY* key = read_pem<EVP_PKEY>(signer_.key, PEM_read_PrivateKey);
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  size_t size = 0;
  auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
  EVP_DigestSignInit(context, nullptr, EVP_sha256(), nullptr, key);
  EVP_DigestSign(context, nullptr, &size, bytes, text.size());
  std::string signature(size, '\0');
  EVP_DigestSign(context, reinterpret_cast<unsigned char*>(signature.data()), &size, bytes,
                 text.size());
  EVP_MD_CTX_free(context);
  EVP_PKEY_free(key);
  return text + "." + base64url(signature);
}

void TokenServer::answer(Exchange& exchange) {
  const HttpRequest& request = exchange.request;
  std::string header = request.header("authorization");
  bool known = header == "Basic " + base64(user_ + ":" + password_);
  if (!header.empty() && !known) return exchange.respond(401);
  std::string access;
  auto scopes = request.query.find("scope");
  std::string list = scopes == request.query.end() ? "" : scopes->second + " ";
  for (size_t at = 0, blank; (blank = list.find(' ', at)) != std::string::npos; at = blank + 1) {
    std::string entry = access_entry(list.substr(at, blank - at), known);
    if (!entry.empty()) access += (access.empty() ? "" : ",") + entry;
  }
  long now = time(nullptr);
  std::string token = sign(fmt::format(
      R"({{"iss":"{}","sub":"{}","aud":"{}","exp":{},"nbf":{},"iat":{},"jti":"{}","access":[{}]}})",
      kIssuer, known ? user_ : "", kService, now + 300, now - 10, now, ++given_, access));
  exchange.respond(200, {{"Content-Type", "application/json"}},
                   fmt::format(R"({{"token":"{}","expires_in":300}})", token));
}

}  // namespace skiff::testing
