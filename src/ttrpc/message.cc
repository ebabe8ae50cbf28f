#include "ttrpc/message.h"

#include <cstring>

namespace skiff::ttrpc::wire {

static_assert(std::endian::native == std::endian::little, "fixed64 is copied as it stands");

void put_varint(std::string& out, uint64_t value) {
  while (value >= 0x80) {
    out += static_cast<char>(value | 0x80);
    value >>= 7;
  }
  out += static_cast<char>(value);
}

void put_tag(std::string& out, uint32_t number, Type type) {
  put_varint(out, uint64_t{number} << 3 | type);
}

void put_fixed64(std::string& out, uint64_t value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put_bytes(std::string& out, uint32_t number, std::string_view bytes) {
  put_tag(out, number, kBytes);
  put_varint(out, bytes.size());
  out += bytes;
}

bool Reader::next() {
  if (rest_.empty()) return false;
  uint64_t tag = varint();
  if (!ok()) return false;
  uint64_t number = tag >> 3;
  if (number == 0 || number >= (1u << 29)) {
    fail("bad field number");
    return false;
  }
  number_ = static_cast<uint32_t>(number);
  type_ = static_cast<Type>(tag & 7);
  return true;
}

uint64_t Reader::varint() {
  uint64_t value = 0;
  for (size_t i = 0; i < 10; ++i) {
    if (i >= rest_.size()) {
      fail("truncated varint");
      return 0;
    }
    uint8_t byte = static_cast<uint8_t>(rest_[i]);
    value |= uint64_t{byte & 0x7fu} << (7 * i);
    if (byte < 0x80) {
      rest_.remove_prefix(i + 1);
      return value;
    }
  }
  fail("varint of more than ten bytes");
  return 0;
}

uint64_t Reader::fixed64() {
  uint64_t value = 0;
  if (rest_.size() < sizeof value) {
    fail("truncated fixed64");
    return 0;
  }
  std::memcpy(&value, rest_.data(), sizeof value);
  rest_.remove_prefix(sizeof value);
  return value;
}

std::string_view Reader::bytes() {
  uint64_t size = varint();
  if (size > rest_.size()) {
    fail("a length beyond the end");
    return {};
  }
  std::string_view value = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return value;
}

bool Reader::expect(Type type) {
  if (type_ != type) fail("a known field with another wire type");
  return ok();
}

Reader Reader::nested(std::string_view bytes) {
  Reader inner(bytes, depth_ - 1);
  if (depth_ <= 0) inner.fail("nested too deep");
  return inner;
}

void Reader::skip() {
  switch (type_) {
    case kVarint: varint(); return;
    case kFixed64: fixed64(); return;
    case kBytes: bytes(); return;
    case kFixed32:
      if (rest_.size() < 4) return fail("truncated fixed32");
      rest_.remove_prefix(4);
      return;
    case kGroup: return skip_group(number_, depth_);
    default: return fail("bad wire type");
  }
}

void Reader::skip_group(uint32_t number, int depth) {
  if (depth <= 0) return fail("nested too deep");
  while (next()) {
    if (type_ == kEndGroup) {
      if (number_ != number) fail("a group ends that is not open");
      return;
    }
    if (type_ == kGroup) {
      skip_group(number_, depth - 1);
    } else {
      skip();
    }
  }
  fail("truncated group");
}

}  // namespace skiff::ttrpc::wire
