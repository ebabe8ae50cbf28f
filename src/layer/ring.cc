#include "layer/ring.h"

namespace skiff::layer {

Ring::Ring(size_t chunks, size_t chunk_bytes)
    : chunks_(chunks),
      chunk_bytes_(chunk_bytes),
      memory_(std::make_unique_for_overwrite<std::byte[]>(chunks * chunk_bytes)),
      sizes_(chunks) {}

Result<MutableBytes> Ring::acquire() {
  auto state = state_.lock();
  state.wait(changed_, [&] { return state->error || state->filled - state->taken < chunks_; });
  if (state->error) return std::unexpected(*state->error);
  return MutableBytes(chunk(state->filled), chunk_bytes_);
}

void Ring::publish(size_t size) {
  auto state = state_.lock();
  sizes_[state->filled % chunks_] = size;
  ++state->filled;
  changed_.notify_one();
}

void Ring::close() {
  state_.lock()->closed = true;
  changed_.notify_one();
}

Result<Bytes> Ring::next() {
  auto state = state_.lock();
  if (state->holding) {
    ++state->taken;
    state->holding = false;
    changed_.notify_one();
  }
  state.wait(changed_,
             [&] { return state->error || state->closed || state->filled > state->taken; });
  if (state->error) return std::unexpected(*state->error);
  if (state->filled == state->taken) return Bytes();
  state->holding = true;
  return Bytes(chunk(state->taken), sizes_[state->taken % chunks_]);
}

void Ring::fail(const Error& error) {
  auto state = state_.lock();
  if (!state->error) state->error = error;
  changed_.notify_all();
}

}  // namespace skiff::layer
