// Platforms and the choice among an index's manifests.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace skiff::oci {

struct Platform {
  std::string os;
  std::string architecture;
  std::string variant;
  std::string os_version;

  // "linux/arm64/v8", "linux/amd64", "arm64"; names are normalised as Go's ecosystem does (x86_64
  // -> amd64, aarch64 -> arm64, armhf -> arm/v7). InvalidArgument names the text.
  static Result<Platform> parse(std::string_view text);
  // This machine's: from uname(2), with the x86-64 or arm variant.
  static Platform host();
  std::string str() const;
  // arm64 has variant v8 by default, arm v7; amd64 v1 is written without a variant.
  Platform normalized() const;

  friend bool operator==(const Platform&, const Platform&) = default;
};

// Platforms that `wanted` can run, best first: an arm/v7 machine takes v7, v6, v5; amd64/v3 takes
// v3, v2, v1; arm64/v9 takes v9, v8. As in containerd the 32-bit ones come last: 386 on amd64, arm
// on arm64.
std::vector<Platform> runnable(const Platform& wanted);

// Rank of `offered` for `wanted`: 0 is best, nullopt does not run.
std::optional<int> match(const Platform& wanted, const Platform& offered);

}  // namespace skiff::oci
