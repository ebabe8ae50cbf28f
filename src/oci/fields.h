// Reading members of OCI documents: each failure becomes InvalidArgument and says where it is.
// For this folder's own sources.
#pragma once

#include <string>
#include <string_view>

#include <fmt/core.h>

#include "base/error.h"
#include "codec/json/json.h"
#include "oci/descriptor.h"

namespace skiff::oci {

// `where` names the document or member that was read: "config", "layers[2]".
template <typename T>
Result<T> located(Result<T> result, std::string_view where) {
  if (result) return result;
  Error error = std::move(result).error();
  if (!where.empty()) error = std::move(error).wrap(where);
  return std::unexpected(std::move(error).with_code(Code::kInvalidArgument));
}

// A member that maps names to strings; absent and null are empty.
Result<Annotations> get_annotations(const json::Value& value, std::string_view key);

json::Value to_json(const Annotations& annotations);

}  // namespace skiff::oci
