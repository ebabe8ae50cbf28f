// gzip framing: members, headers, trailers, padding. Pieces of any size give the same, or fail too;
// what comes out can be packed and comes out again.
#include <cstdint>
#include <string>

#include "base/check.h"
#include "codec/compression.h"

namespace {

using namespace skiff;

constexpr size_t kMost = 4 << 20;  // a bomb is cut here

class Dripping : public ByteSource {
 public:
  Dripping(Bytes bytes, size_t step) : memory_(bytes), step_(step) {}
  Result<size_t> read(MutableBytes buffer) override {
    return memory_.read(buffer.first(std::min(buffer.size(), step_)));
  }

 private:
  MemorySource memory_;
  size_t step_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Bytes bytes = std::as_bytes(std::span(data, size));
  MemorySource whole(bytes);
  auto text = read_all(*codec::decompress(whole, codec::Compression::kGzip), kMost);
  Dripping drops(bytes, 1);
  auto again = read_all(*codec::decompress(drops, codec::Compression::kGzip), kMost);
  SKIFF_CHECK(text.has_value() == again.has_value(), "pieces do not matter");
  if (!text) return 0;
  SKIFF_CHECK(*text == *again, "pieces do not matter");
  StringSink sink;
  auto compressor = codec::compress(sink, codec::Compression::kGzip);
  SKIFF_CHECK(compressor->write(as_bytes(*text)) && compressor->finish(), "any text can be packed");
  std::string packed = sink.take();
  MemorySource source(packed);
  SKIFF_CHECK(
      read_all(*codec::decompress(source, codec::Compression::kGzip), kMost).value_or("") == *text,
      "it comes out again");
  return 0;
}
