// A content digest as the OCI image specification writes it: "sha256:" or "sha512:" and lower-case
// hex of the right length. A Digest that exists is well-formed; hashing lives in codec/hash.h.
#pragma once

#include <compare>
#include <functional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace skiff {

enum class DigestAlgorithm { kSha256, kSha512 };

std::string_view algorithm_name(DigestAlgorithm algorithm);

class Digest {
 public:
  // Empty; only to be assigned to. empty() tells.
  Digest() = default;

  // InvalidArgument names the text and what is wrong with it.
  static Result<Digest> parse(std::string_view text);
  // `hex` must be well-formed (checked).
  static Digest from_hex(DigestAlgorithm algorithm, std::string hex);

  bool empty() const { return text_.empty(); }
  DigestAlgorithm algorithm() const { return algorithm_; }
  // "sha256:ab12..."
  const std::string& str() const { return text_; }
  std::string_view hex() const;
  // The first 12 hex digits, as tools show them.
  std::string_view short_hex() const { return hex().substr(0, 12); }

  friend auto operator<=>(const Digest& a, const Digest& b) { return a.text_ <=> b.text_; }
  friend bool operator==(const Digest& a, const Digest& b) { return a.text_ == b.text_; }

 private:
  DigestAlgorithm algorithm_ = DigestAlgorithm::kSha256;
  std::string text_;
};

}  // namespace skiff

template <>
struct std::hash<skiff::Digest> {
  size_t operator()(const skiff::Digest& digest) const noexcept {
    return std::hash<std::string>()(digest.str());
  }
};
template <>
struct fmt::formatter<skiff::Digest> : fmt::formatter<fmt::string_view> {
  template <typename Context>
  auto format(const skiff::Digest& digest, Context& context) const {
    return fmt::formatter<fmt::string_view>::format(fmt::string_view(digest.str()), context);
  }
};
