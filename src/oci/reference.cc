#include "oci/reference.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace skiff::oci {
namespace {

constexpr std::string_view kDefaultRegistry = "docker.io";
constexpr std::string_view kLegacyDefaultRegistry = "index.docker.io";
constexpr std::string_view kOfficialPrefix = "library/";
constexpr std::string_view kDefaultTag = "latest";
constexpr size_t kMaxRepository = 255;
constexpr size_t kMaxTag = 128;
constexpr size_t kMaxText = 4096;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_alnum(char c) { return is_digit(c) || is_lower(c) || is_upper(c); }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

bool has_upper(std::string_view text) { return std::ranges::any_of(text, is_upper); }

// Calls `fn` with each part between separators; false as soon as one call is.
template <typename Fn>
bool all_parts(std::string_view text, char separator, Fn fn) {
  for (;;) {
    size_t end = text.find(separator);
    if (!fn(text.substr(0, end))) return false;
    if (end == std::string_view::npos) return true;
    text.remove_prefix(end + 1);
  }
}

bool valid_domain_component(std::string_view part) {
  return !part.empty() && part.front() != '-' && part.back() != '-' &&
         std::ranges::all_of(part, [](char c) { return is_alnum(c) || c == '-'; });
}

bool valid_host(std::string_view host) {
  if (!host.starts_with('[')) return all_parts(host, '.', valid_domain_component);
  if (host.size() < 3 || !host.ends_with(']')) return false;
  host = host.substr(1, host.size() - 2);
  return std::ranges::all_of(host, [](char c) { return is_hex(c) || c == ':'; });
}

bool valid_port(std::string_view port) {
  return !port.empty() && port.size() <= 5 && std::ranges::all_of(port, is_digit);
}

bool valid_registry(std::string_view registry) {
  size_t host_end = registry.starts_with('[') ? registry.find(']') : 0;
  if (host_end == std::string_view::npos) return false;
  size_t colon = registry.find(':', host_end);
  if (colon == std::string_view::npos) return valid_host(registry);
  return valid_host(registry.substr(0, colon)) && valid_port(registry.substr(colon + 1));
}

// Runs of lower-case letters and digits, joined by ".", "_", "__" or any number of "-".
bool valid_path_component(std::string_view part) {
  size_t at = 0;
  auto run = [&](auto accept) {
    size_t from = at;
    while (at < part.size() && accept(part[at])) ++at;
    return part.substr(from, at - from);
  };
  auto word = [](char c) { return is_lower(c) || is_digit(c); };
  if (run(word).empty()) return false;
  while (at < part.size()) {
    std::string_view joint = run([&](char c) { return !word(c); });
    bool dashes = std::ranges::all_of(joint, [](char c) { return c == '-'; });
    if (joint != "." && joint != "_" && joint != "__" && !dashes) return false;
    if (run(word).empty()) return false;
  }
  return true;
}

bool valid_tag(std::string_view tag) {
  auto word = [](char c) { return is_alnum(c) || c == '_'; };
  return !tag.empty() && tag.size() <= kMaxTag && word(tag.front()) &&
         std::ranges::all_of(tag, [&](char c) { return word(c) || c == '.' || c == '-'; });
}

// Whether the part before the first slash names a registry, not a Docker Hub user.
bool looks_like_registry(std::string_view part) {
  return part.find_first_of(".:") != std::string_view::npos || part == "localhost" ||
         part.starts_with('[') || has_upper(part);
}

bool is_bare_hex_id(std::string_view text) {
  return text.size() == 64 &&
         std::ranges::all_of(text, [](char c) { return is_hex(c) && !is_upper(c); });
}

std::unexpected<Error> invalid(std::string_view text, std::string_view why) {
  return fail(Code::kInvalidArgument, "invalid image reference \"{}\": {}",
              text.substr(0, kMaxText), why);
}

Status check_repository(std::string_view text, std::string_view repository) {
  if (repository.empty()) return invalid(text, "the repository is missing");
  if (repository.size() > kMaxRepository)
    return invalid(text, fmt::format("the repository is longer than {} bytes", kMaxRepository));
  if (has_upper(repository))
    return invalid(text, fmt::format("the repository \"{}\" must be lower-case", repository));
  if (!all_parts(repository, '/', valid_path_component))
    return invalid(text,
                   fmt::format("the repository \"{}\" is malformed: it needs letters and digits "
                               "joined by \".\", \"_\", \"__\" or \"-\"",
                               repository));
  return ok();
}

}  // namespace

Result<Reference> Reference::parse(std::string_view text) {
  if (text.empty()) return invalid(text, "it is empty");
  if (text.size() > kMaxText) return invalid(text, "it is too long");
  if (text.find("://") != std::string_view::npos)
    return invalid(text, "it takes no scheme; write it as registry/repository:tag");
  if (is_bare_hex_id(text))
    return invalid(text, "64 hex digits are an image's id, not a repository");

  Reference reference;
  std::string_view rest = text;
  if (size_t at = rest.find('@'); at != std::string_view::npos) {
    auto digest = Digest::parse(rest.substr(at + 1));
    if (!digest) return invalid(text, digest.error().message());
    reference.digest_ = *std::move(digest);
    rest = rest.substr(0, at);
  }
  // A colon after the last slash starts the tag; one before it is a port.
  size_t slash = rest.rfind('/');
  size_t colon = rest.find(':', slash == std::string_view::npos ? 0 : slash);
  if (colon != std::string_view::npos) {
    std::string_view tag = rest.substr(colon + 1);
    if (!valid_tag(tag))
      return invalid(text, fmt::format("the tag \"{}\" is malformed: up to {} letters, digits, "
                                       "\"_\", \".\" and \"-\"",
                                       tag, kMaxTag));
    reference.tag_ = std::string(tag);
    rest = rest.substr(0, colon);
  }
  reference.registry_ = kDefaultRegistry;
  slash = rest.find('/');
  if (slash != std::string_view::npos && looks_like_registry(rest.substr(0, slash))) {
    std::string_view registry = rest.substr(0, slash);
    if (!valid_registry(registry))
      return invalid(text, fmt::format("the registry \"{}\" is malformed", registry));
    if (registry != kLegacyDefaultRegistry) reference.registry_ = registry;
    rest = rest.substr(slash + 1);
  }
  bool official = reference.registry_ == kDefaultRegistry && !rest.empty() &&
                  rest.find('/') == std::string_view::npos;
  reference.repository_ = official ? fmt::format("{}{}", kOfficialPrefix, rest) : std::string(rest);
  SKIFF_TRY(check_repository(text, reference.repository_));
  if (!reference.tag_ && !reference.digest_) reference.tag_ = kDefaultTag;
  return reference;
}

std::string Reference::str() const {
  std::string text = name();
  if (tag_) text += ":" + *tag_;
  if (digest_) text += "@" + digest_->str();
  return text;
}

std::string Reference::familiar() const {
  std::string text = str();
  if (registry_ != kDefaultRegistry) return text;
  std::string_view path = repository_;
  size_t skip = kDefaultRegistry.size() + 1;
  bool official = path.starts_with(kOfficialPrefix) &&
                  path.find('/', kOfficialPrefix.size()) == std::string_view::npos;
  if (official) return text.substr(skip + kOfficialPrefix.size());
  // "docker.io/my.org/app" without its registry would name another one.
  if (looks_like_registry(path.substr(0, path.find('/')))) return text;
  return text.substr(skip);
}

std::string Reference::object() const {
  return digest_ ? digest_->str() : tag_.value_or(std::string(kDefaultTag));
}

Reference Reference::with_digest(Digest digest) const {
  Reference copy = *this;
  copy.digest_ = std::move(digest);
  return copy;
}

Reference Reference::with_tag(std::string tag) const {
  SKIFF_CHECK(valid_tag(tag), "the caller gives a well-formed tag");
  Reference copy = *this;
  copy.tag_ = std::move(tag);
  return copy;
}

}  // namespace skiff::oci
