// Base64 as in RFC 4648, section 4: what Docker's config.json keeps its passwords in.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace skiff::cli {

std::string base64_encode(std::string_view bytes);
// Padding may be missing. InvalidArgument, without repeating the text: it is a secret.
Result<std::string> base64_decode(std::string_view text);

}  // namespace skiff::cli
