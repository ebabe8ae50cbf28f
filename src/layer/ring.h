// A bounded ring of reusable buffers between two threads: one fills whole chunks, the other reads
// them as a Window. Either end can break it, and then both see the first error.
#pragma once

#include <condition_variable>
#include <memory>
#include <optional>
#include <vector>

#include "base/guarded.h"
#include "codec/window.h"

namespace skiff::layer {

class Ring {
 public:
  Ring(size_t chunks, size_t chunk_bytes);

  // --- the filling thread ---
  // An empty buffer; waits for one. The error that broke the ring, if one did.
  Result<MutableBytes> acquire();
  // Passes the buffer on with its first `size` bytes filled.
  void publish(size_t size);
  // No more comes.
  void close();

  // --- the reading thread ---
  // The next chunk; empty at the end. The one before it goes back to be filled.
  Result<Bytes> next();

  // --- either ---
  // Wakes the other end with this error; the first one stays.
  void fail(const Error& error);

 private:
  struct State {
    size_t filled = 0;  // chunks published so far
    size_t taken = 0;   // chunks given back so far
    bool holding = false;
    bool closed = false;
    std::optional<Error> error;
  };

  std::byte* chunk(size_t index) { return memory_.get() + index % chunks_ * chunk_bytes_; }

  size_t chunks_;
  size_t chunk_bytes_;
  std::unique_ptr<std::byte[]> memory_;
  std::vector<size_t> sizes_;  // [i] is written before chunk i is published, read after
  Guarded<State> state_;
  std::condition_variable_any changed_;
};

}  // namespace skiff::layer
