// Which bytes of a blob are here, which are on their way, and which to ask for next.
//
// Workers take pieces in order, at most a window ahead of the contiguous prefix; the prefix grows
// with every byte of the piece at its end, not only with whole pieces, so that readers start at
// once. Thread-safe.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <optional>

#include "base/context.h"
#include "base/guarded.h"

namespace skiff::image {

class Pieces {
 public:
  // The bytes from `begin` on are missing.
  Pieces(uint64_t begin, uint64_t size, uint64_t piece_bytes, uint64_t window_bytes);

  struct Piece {
    uint64_t begin = 0;
    uint64_t end = 0;
    uint64_t done = 0;
  };
  // The next piece to fetch; waits while the window is full. nullopt: all are taken, or it failed,
  // or the context ended.
  std::optional<Piece> take(const Context& context);
  // `bytes` more of the piece that begins there are stored.
  void add(uint64_t piece_begin, uint64_t bytes);
  // No more pieces are given out; the first error stays.
  void fail_with(const Error& error);

  // Waits until the prefix is longer than `past`, everything is here, or it failed; the prefix's
  // end.
  Result<uint64_t> wait_past(const Context& context, uint64_t past);

 private:
  struct Shared {
    uint64_t next = 0;               // where the next piece begins
    uint64_t prefix = 0;             // contiguous bytes
    std::map<uint64_t, Piece> open;  // taken and not yet part of the prefix, by begin
    std::optional<Error> error;
  };
  static void extend_prefix(Shared& shared);

  const uint64_t size_;
  const uint64_t piece_bytes_;
  const uint64_t window_bytes_;
  Guarded<Shared> shared_;
  std::condition_variable_any changed_;
};

}  // namespace skiff::image
