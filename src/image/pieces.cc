#include "image/pieces.h"

#include <algorithm>

#include "base/check.h"

namespace skiff::image {

Pieces::Pieces(uint64_t begin, uint64_t size, uint64_t piece_bytes, uint64_t window_bytes)
    : size_(size), piece_bytes_(piece_bytes), window_bytes_(std::max(window_bytes, piece_bytes)) {
  auto shared = shared_.lock();
  shared->next = begin;
  shared->prefix = begin;
}

std::optional<Pieces::Piece> Pieces::take(const Context& context) {
  auto shared = shared_.lock();
  shared.wait(changed_, context.stop_token(), [&] {
    return shared->error || shared->next >= size_ || shared->next < shared->prefix + window_bytes_;
  });
  if (shared->error || shared->next >= size_ || context.stopped()) return std::nullopt;
  Piece piece{.begin = shared->next, .end = std::min(size_, shared->next + piece_bytes_)};
  shared->next = piece.end;
  shared->open.emplace(piece.begin, piece);
  return piece;
}

void Pieces::add(uint64_t piece_begin, uint64_t bytes) {
  auto shared = shared_.lock();
  auto piece = shared->open.find(piece_begin);
  SKIFF_CHECK(piece != shared->open.end(), "bytes belong to a piece that was taken");
  piece->second.done += bytes;
  const uint64_t before = shared->prefix;
  extend_prefix(*shared);
  if (shared->prefix != before) changed_.notify_all();
}

void Pieces::extend_prefix(Shared& shared) {
  while (!shared.open.empty()) {
    const Piece& first = shared.open.begin()->second;
    if (first.begin > shared.prefix) return;
    shared.prefix = std::max(shared.prefix, first.begin + first.done);
    if (first.begin + first.done < first.end) return;
    shared.open.erase(shared.open.begin());
  }
}

void Pieces::fail_with(const Error& error) {
  auto shared = shared_.lock();
  if (!shared->error) shared->error = error;
  changed_.notify_all();
}

Result<uint64_t> Pieces::wait_past(const Context& context, uint64_t past) {
  auto shared = shared_.lock();
  shared.wait(changed_, context.stop_token(),
              [&] { return shared->error || shared->prefix > past || shared->prefix >= size_; });
  if (shared->prefix > past || shared->prefix >= size_) return shared->prefix;
  if (shared->error) return std::unexpected(*shared->error);
  return std::unexpected(context.check().error());
}

}  // namespace skiff::image
