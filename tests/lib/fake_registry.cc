#include "tests/lib/fake_registry.h"

#include <openssl/evp.h>

#include <algorithm>

#include <fmt/format.h>

namespace skiff::testing {
namespace {

constexpr size_t kStep = 64 << 10;

std::string base64_decode(const std::string& text) {
  std::string out(text.size(), '\0');
  int n = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                          reinterpret_cast<const unsigned char*>(text.data()),
                          static_cast<int>(text.size()));
  if (n < 0) return {};
  out.resize(n);
  while (!out.empty() && out.back() == '\0') out.pop_back();
  return out;
}

std::string error_body(const std::string& code) {
  return fmt::format(R"({{"errors":[{{"code":"{}","message":"from the fake registry"}}]}})", code);
}

// "/v2/<repository>/<kind>/<rest>"
struct Route {
  std::string repository, kind, rest;
};

std::optional<Route> parse_route(const std::string& path) {
  if (!path.starts_with("/v2/")) return {};
  for (const char* kind : {"/manifests/", "/blobs/"}) {
    size_t at = path.rfind(kind);
    if (at == path.npos || at < 4) continue;
    std::string name(kind);
    return Route{path.substr(4, at - 4), name.substr(1, name.size() - 2),
                 path.substr(at + name.size())};
  }
  return {};
}

std::map<std::string, std::string> parse_form(const std::string& body) {
  std::map<std::string, std::string> fields;
  size_t at = 0;
  while (at < body.size()) {
    size_t end = std::min(body.find('&', at), body.size());
    std::string pair = body.substr(at, end - at);
    size_t equals = std::min(pair.find('='), pair.size());
    fields[pair.substr(0, equals)] =
        percent_decode(std::string_view(pair).substr(std::min(equals + 1, pair.size())));
    at = end + 1;
  }
  return fields;
}

}  // namespace

std::string sha256_of(std::string_view bytes) {
  unsigned char hash[32];
  EVP_Digest(bytes.data(), bytes.size(), hash, nullptr, EVP_sha256(), nullptr);
  std::string text = "sha256:";
  for (unsigned char byte : hash) text += fmt::format("{:02x}", byte);
  return text;
}

FakeRegistry::FakeRegistry(Options options) : options_(std::move(options)) {
  server_ = std::make_unique<HttpServer>([this](Exchange& x) { handle(x); }, options_.tls);
}

FakeRegistry::~FakeRegistry() = default;

std::string FakeRegistry::add_blob(std::string bytes) {
  std::string digest = sha256_of(bytes);
  std::lock_guard lock(mutex_);
  state_.blobs[digest] = std::move(bytes);
  return digest;
}

std::string FakeRegistry::add_manifest(const std::string& repository, const std::string& tag,
                                       std::string bytes, const std::string& media_type) {
  std::string digest = sha256_of(bytes);
  std::lock_guard lock(mutex_);
  state_.manifests[repository + "@" + digest] = {bytes, media_type};
  if (!tag.empty()) state_.manifests[repository + "@" + tag] = {std::move(bytes), media_type};
  return digest;
}

std::string FakeRegistry::add_image(const std::string& repository, const std::string& tag,
                                    const std::string& config,
                                    const std::vector<std::string>& layers) {
  auto descriptor = [&](const std::string& bytes, const char* type) {
    return fmt::format(R"({{"mediaType":"{}","digest":"{}","size":{}}})", type, add_blob(bytes),
                       bytes.size());
  };
  std::string list;
  for (const std::string& layer : layers)
    list += (list.empty() ? "" : ",") +
            descriptor(layer, "application/vnd.oci.image.layer.v1.tar+gzip");
  constexpr char kType[] = "application/vnd.oci.image.manifest.v1+json";
  std::string manifest =
      fmt::format(R"({{"schemaVersion":2,"mediaType":"{}","config":{},"layers":[{}]}})", kType,
                  descriptor(config, "application/vnd.oci.image.config.v1+json"), list);
  return add_manifest(repository, tag, manifest, kType);
}

void FakeRegistry::inject(Fault fault) {
  std::lock_guard lock(mutex_);
  state_.faults.push_back(std::move(fault));
}

void FakeRegistry::clear_faults() {
  std::lock_guard lock(mutex_);
  state_.faults.clear();
}

void FakeRegistry::revoke_tokens() {
  std::lock_guard lock(mutex_);
  state_.tokens.clear();
}

void FakeRegistry::set_password(std::string password) {
  std::lock_guard lock(mutex_);
  options_.password = std::move(password);
}

std::vector<FakeRegistry::Seen> FakeRegistry::seen() const {
  std::lock_guard lock(mutex_);
  return state_.seen;
}

int FakeRegistry::count(const std::string& method, const std::string& path_end) const {
  std::lock_guard lock(mutex_);
  return static_cast<int>(std::count_if(state_.seen.begin(), state_.seen.end(), [&](const Seen& s) {
    return (method.empty() || s.method == method) && s.path.ends_with(path_end);
  }));
}

uint64_t FakeRegistry::bytes_served(const std::string& digest) const {
  std::lock_guard lock(mutex_);
  auto found = state_.bytes.find(digest);
  return found == state_.bytes.end() ? 0 : found->second;
}

std::string FakeRegistry::blob(const std::string& digest) const {
  std::lock_guard lock(mutex_);
  auto found = state_.blobs.find(digest);
  return found == state_.blobs.end() ? "" : found->second;
}

std::string FakeRegistry::manifest(const std::string& repository, const std::string& object) const {
  std::lock_guard lock(mutex_);
  auto found = state_.manifests.find(repository + "@" + object);
  return found == state_.manifests.end() ? "" : found->second.bytes;
}

void FakeRegistry::note_served(const std::string& digest, uint64_t bytes) {
  std::lock_guard lock(mutex_);
  state_.bytes[digest] += bytes;
}

// ---- requests ----

void FakeRegistry::handle(Exchange& exchange) {
  const HttpRequest& request = exchange.request;
  {
    std::lock_guard lock(mutex_);
    state_.seen.push_back(
        {request.method, request.path, request.target, request.headers, request.connection});
  }
  auto fault = take_fault(request);
  if (fault && answer_fault(exchange, *fault)) return;
  if (request.path == "/token") return token(exchange);
  auto route = parse_route(request.path);
  std::string repository = route ? route->repository : "";
  if (!authorized(request, repository)) return challenge(exchange, repository);
  if (request.path == "/v2/") return exchange.respond(200, {}, "{}");
  if (!route) return exchange.respond(404, {}, error_body("UNSUPPORTED"));
  bool reads = request.method == "GET" || request.method == "HEAD";
  const std::string uploads = "uploads/";
  if (route->kind == "blobs" && route->rest.starts_with(uploads)) {
    std::string id = route->rest.substr(uploads.size());
    return id.empty() ? start_upload(exchange, repository)
                      : continue_upload(exchange, repository, id, fault.value_or(Fault{}));
  }
  if (route->kind == "blobs" && reads)
    return get_blob(exchange, route->rest, fault.value_or(Fault{}));
  if (route->kind == "manifests" && reads)
    return get_manifest(exchange, repository, route->rest, fault.value_or(Fault{}));
  if (route->kind == "manifests" && request.method == "PUT")
    return put_manifest(exchange, repository, route->rest);
  exchange.respond(405, {}, error_body("UNSUPPORTED"));
}

std::optional<Fault> FakeRegistry::take_fault(const HttpRequest& request) {
  std::lock_guard lock(mutex_);
  for (Fault& fault : state_.faults) {
    if (!fault.method.empty() && fault.method != request.method) continue;
    if (!request.path.ends_with(fault.path) || fault.times == 0) continue;
    if (fault.skip > 0) {
      --fault.skip;
      continue;
    }
    if (fault.times > 0) --fault.times;
    return fault;
  }
  return {};
}

// True when that was the whole answer.
bool FakeRegistry::answer_fault(Exchange& exchange, const Fault& fault) {
  if (fault.custom)
    fault.custom(exchange);
  else if (fault.hang)
    exchange.hang();
  else if (fault.reset)
    exchange.reset();
  else if (!fault.redirect.empty())
    exchange.respond(307, {{"Location", fault.redirect}});
  else if (fault.status)
    exchange.respond(*fault.status, fault.headers, fault.body);
  else
    return false;
  return true;
}

bool FakeRegistry::authorized(const HttpRequest& request, const std::string& repository) {
  std::string header = request.header("authorization");
  std::lock_guard lock(mutex_);
  switch (options_.auth) {
    case Auth::kNone: return true;
    case Auth::kBasic:
      return header.starts_with("Basic ") &&
             base64_decode(header.substr(6)) == options_.username + ":" + options_.password;
    case Auth::kBearer: break;
  }
  if (!header.starts_with("Bearer ")) return false;
  auto token = state_.tokens.find(header.substr(7));
  if (token == state_.tokens.end()) return false;
  if (repository.empty()) return true;
  bool reads = request.method == "GET" || request.method == "HEAD";
  size_t at = token->second.find("repository:" + repository + ":");
  if (at == std::string::npos) return false;
  std::string scope = token->second.substr(at, token->second.find(' ', at) - at);
  return scope.find(reads ? "pull" : "push") != std::string::npos;
}

void FakeRegistry::challenge(Exchange& exchange, const std::string& repository) {
  bool reads = exchange.request.method == "GET" || exchange.request.method == "HEAD";
  std::string value =
      options_.auth == Auth::kBasic
          ? std::string("Basic realm=\"fake\"")
          : fmt::format(R"(Bearer realm="{}/token",service="fake",scope="repository:{}:{}")", url(),
                        repository, reads ? "pull" : "pull,push");
  exchange.respond(401, {{"WWW-Authenticate", value}}, error_body("UNAUTHORIZED"));
}

void FakeRegistry::token(Exchange& exchange) {
  const HttpRequest& request = exchange.request;
  std::string scopes;
  bool good = false;
  std::unique_lock lock(mutex_);
  if (request.method == "POST") {
    auto form = parse_form(request.body);
    scopes = form["scope"];
    good = form["service"] == "fake" && !form["client_id"].empty() &&
           ((form["grant_type"] == "refresh_token" &&
             form["refresh_token"] == options_.identity_token) ||
            (form["grant_type"] == "password" && form["username"] == options_.username &&
             form["password"] == options_.password));
  } else {
    auto scope = request.query.find("scope");
    scopes = scope == request.query.end() ? "" : scope->second;
    std::string header = request.header("authorization");
    bool pulls_only = scopes.find("push") == std::string::npos;
    good = header.empty()
               ? options_.anonymous_pull && pulls_only
               : header.starts_with("Basic ") &&
                     base64_decode(header.substr(6)) == options_.username + ":" + options_.password;
  }
  if (options_.oauth_only && request.method != "POST") {
    lock.unlock();
    return exchange.respond(405);
  }
  if (!good) {
    lock.unlock();
    return exchange.respond(401, {}, error_body("UNAUTHORIZED"));
  }
  std::string token = fmt::format("token-{}", ++state_.next_id);
  state_.tokens[token] = scopes;
  lock.unlock();
  exchange.respond(
      200, {{"Content-Type", "application/json"}},
      fmt::format(R"({{"{}":"{}","expires_in":{}}})",
                  request.method == "POST" ? "access_token" : "token", token, options_.expires_in));
}

// ---- pulling ----

void FakeRegistry::get_blob(Exchange& exchange, const std::string& digest, const Fault& fault) {
  std::optional<std::string> bytes;
  {
    std::lock_guard lock(mutex_);
    auto found = state_.blobs.find(digest);
    if (found != state_.blobs.end()) bytes = found->second;
  }
  if (!bytes) return exchange.respond(404, {}, error_body("BLOB_UNKNOWN"));
  serve(exchange, *bytes, {{"Content-Type", "application/octet-stream"}}, digest, fault);
}

void FakeRegistry::get_manifest(Exchange& exchange, const std::string& repository,
                                const std::string& object, const Fault& fault) {
  Document document;
  {
    std::lock_guard lock(mutex_);
    auto found = state_.manifests.find(repository + "@" + object);
    if (found != state_.manifests.end()) document = found->second;
  }
  if (document.media_type.empty()) return exchange.respond(404, {}, error_body("MANIFEST_UNKNOWN"));
  serve(exchange, document.bytes, {{"Content-Type", document.media_type}},
        sha256_of(document.bytes), fault);
}

namespace {

struct Slice {
  uint64_t first, last;  // inclusive
};

// "bytes=a-b" or "bytes=a-"
std::optional<Slice> parse_range(const std::string& text, uint64_t size) {
  if (!text.starts_with("bytes=") || size == 0) return {};
  size_t dash = text.find('-');
  Slice slice{std::stoull(text.substr(6, dash - 6)), size - 1};
  if (dash + 1 < text.size())
    slice.last = std::min<uint64_t>(size - 1, std::stoull(text.substr(dash + 1)));
  return slice;
}

void set_header(HeaderList& headers, const std::string& name, const std::string& value) {
  std::erase_if(headers, [&](auto& h) { return h.first == name; });
  if (!value.empty()) headers.emplace_back(name, value);
}

}  // namespace

void FakeRegistry::serve(Exchange& exchange, const std::string& bytes, HeaderList headers,
                         const std::string& digest, const Fault& fault) {
  std::string body = bytes;
  int status = 200;
  auto slice = parse_range(exchange.request.header("range"), bytes.size());
  if (slice && !fault.ignore_range) {
    if (slice->first >= bytes.size()) return exchange.respond(416);
    slice->first += fault.shift_range;
    slice->last = std::min<uint64_t>(slice->last + fault.shift_range, bytes.size() - 1);
    status = 206;
    body = bytes.substr(slice->first, slice->last - slice->first + 1);
    headers.emplace_back("Content-Range", fault.content_range.empty()
                                              ? fmt::format("bytes {}-{}/{}", slice->first,
                                                            slice->last, bytes.size())
                                              : fault.content_range);
  }
  if (fault.corrupt && !body.empty()) body.back() ^= 1;
  body += fault.append;
  headers.emplace_back("Accept-Ranges", "bytes");
  set_header(headers, "Docker-Content-Digest", fault.content_digest.value_or(digest));
  if (fault.content_type) set_header(headers, "Content-Type", *fault.content_type);
  if (!fault.chunked)
    headers.emplace_back("Content-Length",
                         fmt::format("{}", fault.content_length.value_or(body.size())));
  else
    headers.emplace_back("Connection", "close");
  exchange.send_head(status, headers);
  if (exchange.request.method == "HEAD") return;

  uint64_t most =
      std::min({fault.reset_after.value_or(body.size()), fault.close_after.value_or(body.size()),
                fault.hang_after.value_or(body.size()), uint64_t{body.size()}});
  size_t step = fault.drip.count() ? 1 : kStep;
  for (size_t at = 0; at < most; at += step) {
    size_t n = std::min<size_t>(step, most - at);
    note_served(digest, n);  // first: whoever has read the last byte may ask at once
    exchange.send_raw(std::string_view(body).substr(at, n));
    if (fault.drip.count() && !exchange.pause(fault.drip)) return;
  }
  if (fault.reset_after)
    exchange.reset();
  else if (fault.hang_after)
    exchange.hang();
  else if (fault.close_after || fault.chunked || fault.content_length)
    exchange.close();
}

// ---- pushing ----

void FakeRegistry::put_manifest(Exchange& exchange, const std::string& repository,
                                const std::string& object) {
  const HttpRequest& request = exchange.request;
  std::string tag = object.starts_with("sha256:") ? "" : object;
  std::string digest = add_manifest(repository, tag, request.body, request.header("content-type"));
  if (tag.empty() && digest != object)
    return exchange.respond(400, {}, error_body("DIGEST_INVALID"));
  exchange.respond(201, {{"Docker-Content-Digest", digest}});
}

void FakeRegistry::start_upload(Exchange& exchange, const std::string& repository) {
  auto& query = exchange.request.query;
  std::string id;
  {
    std::lock_guard lock(mutex_);
    auto mount = query.find("mount");
    if (mount != query.end() && state_.blobs.contains(mount->second)) {
      id = mount->second;
    } else {
      id = fmt::format("upload-{}", ++state_.next_id);
      state_.uploads[id].clear();
    }
  }
  if (id.starts_with("sha256:"))
    return exchange.respond(
        201, {{"Docker-Content-Digest", id}, {"Location", "/v2/" + repository + "/blobs/" + id}});
  exchange.respond(202, {{"Location", "/v2/" + repository + "/blobs/uploads/" + id + "?state=s"},
                         {"Range", "0-0"}});
}

void FakeRegistry::continue_upload(Exchange& exchange, const std::string& repository,
                                   const std::string& id, const Fault& fault) {
  const HttpRequest& request = exchange.request;
  std::string location = "/v2/" + repository + "/blobs/uploads/" + id + "?state=t";
  std::unique_lock lock(mutex_);
  auto upload = state_.uploads.find(id);
  if (upload == state_.uploads.end()) {
    lock.unlock();
    return exchange.respond(404, {}, error_body("BLOB_UPLOAD_UNKNOWN"));
  }
  std::string& bytes = upload->second;
  if (request.method == "PATCH" || request.method == "PUT")
    bytes += request.body.substr(0, fault.keep_of_upload.value_or(request.body.size()));
  if (fault.keep_of_upload) {
    lock.unlock();
    return exchange.reset();
  }
  std::string range = fmt::format("0-{}", bytes.empty() ? 0 : bytes.size() - 1);
  if (request.method == "DELETE") state_.uploads.erase(upload);
  if (request.method != "PUT") {
    int status = request.method == "PATCH" ? 202 : 204;
    lock.unlock();
    return exchange.respond(status, {{"Location", location}, {"Range", range}});
  }
  auto wanted = request.query.find("digest");
  std::string digest = sha256_of(bytes);
  bool good = wanted != request.query.end() && wanted->second == digest;
  if (good) state_.blobs[digest] = std::move(bytes);
  state_.uploads.erase(upload);
  lock.unlock();
  if (!good) return exchange.respond(400, {}, error_body("DIGEST_INVALID"));
  exchange.respond(201, {{"Docker-Content-Digest", digest}});
}

}  // namespace skiff::testing
