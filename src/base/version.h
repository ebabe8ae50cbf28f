#pragma once

namespace skiff {

inline constexpr char kVersion[] = "0.1.0";

}  // namespace skiff
