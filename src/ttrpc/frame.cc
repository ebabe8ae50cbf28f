#include "ttrpc/frame.h"

namespace skiff::ttrpc {
namespace {

void put_u32(std::string& out, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift);
}

uint32_t get_u32(const char* bytes) {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

}  // namespace

void put_header(std::string& out, const FrameHeader& header) {
  put_u32(out, header.length);
  put_u32(out, header.stream);
  out += static_cast<char>(header.type);
  out += static_cast<char>(header.flags);
}

FrameHeader parse_header(const char* bytes) {
  return {get_u32(bytes), get_u32(bytes + 4), static_cast<FrameType>(bytes[8]),
          static_cast<uint8_t>(bytes[9])};
}

WireStatus to_status(const Error& error) {
  return {static_cast<int32_t>(error.code()), error.message(), {}};
}

Status from_status(const WireStatus& status) {
  if (status.code == 0) return ok();
  bool known = status.code > 0 && status.code <= static_cast<int32_t>(Code::kUnauthenticated);
  return std::unexpected(
      Error(known ? static_cast<Code>(status.code) : Code::kUnknown, status.message));
}

}  // namespace skiff::ttrpc
