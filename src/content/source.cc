#include "content/content_store.h"

namespace skiff::content {
namespace {

class BlobSource final : public ByteSource {
 public:
  BlobSource(std::shared_ptr<BlobReader> reader, uint64_t offset)
      : reader_(std::move(reader)), offset_(offset) {}

  Result<size_t> read(MutableBytes buffer) override {
    size_t n = SKIFF_TRY(reader_->read_at(buffer, offset_));
    offset_ += n;
    return n;
  }

 private:
  std::shared_ptr<BlobReader> reader_;
  uint64_t offset_;
};

}  // namespace

std::unique_ptr<ByteSource> source(std::shared_ptr<BlobReader> reader, uint64_t offset) {
  return std::make_unique<BlobSource>(std::move(reader), offset);
}

}  // namespace skiff::content
