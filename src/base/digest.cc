#include "base/digest.h"

#include <algorithm>

#include "base/check.h"

namespace skiff {
namespace {

size_t hex_length(DigestAlgorithm algorithm) {
  return algorithm == DigestAlgorithm::kSha256 ? 64 : 128;
}

bool is_lower_hex(std::string_view text) {
  return std::ranges::all_of(
      text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace

std::string_view algorithm_name(DigestAlgorithm algorithm) {
  return algorithm == DigestAlgorithm::kSha256 ? "sha256" : "sha512";
}

Result<Digest> Digest::parse(std::string_view text) {
  auto colon = text.find(':');
  if (colon == std::string_view::npos)
    return fail(Code::kInvalidArgument, "digest \"{}\" has no algorithm before a colon", text);
  auto name = text.substr(0, colon);
  auto hex = text.substr(colon + 1);
  DigestAlgorithm algorithm;
  if (name == "sha256") {
    algorithm = DigestAlgorithm::kSha256;
  } else if (name == "sha512") {
    algorithm = DigestAlgorithm::kSha512;
  } else {
    return fail(Code::kInvalidArgument,
                "digest \"{}\": algorithm {} is not supported (sha256, sha512)",
                text.substr(0, 160), name.substr(0, 32));
  }
  if (hex.size() != hex_length(algorithm) || !is_lower_hex(hex))
    return fail(Code::kInvalidArgument, "digest \"{}\": not {} lower-case hex digits",
                text.substr(0, 160), hex_length(algorithm));
  return from_hex(algorithm, std::string(hex));
}

Digest Digest::from_hex(DigestAlgorithm algorithm, std::string hex) {
  SKIFF_CHECK(hex.size() == hex_length(algorithm) && is_lower_hex(hex),
              "digest hex is well-formed");
  Digest digest;
  digest.algorithm_ = algorithm;
  digest.text_ = fmt::format("{}:{}", algorithm_name(algorithm), hex);
  return digest;
}

std::string_view Digest::hex() const {
  if (text_.empty()) return {};
  return std::string_view(text_).substr(text_.find(':') + 1);
}

}  // namespace skiff
