// What a pull, push or import tells its caller while it runs.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace skiff::image {

enum class LayerState {
  kWaiting,
  kPresent,      // already unpacked or stored
  kRemote,       // a remote snapshot stands for it
  kDownloading,  // offset/total count compressed bytes
  kUnpacking,    // all bytes are here, the tree is not finished
  kPushing,
  kDone,
};

struct LayerProgress {
  std::string digest;
  LayerState state = LayerState::kWaiting;
  uint64_t offset = 0;
  uint64_t total = 0;
};

struct Progress {
  // "resolving", "fetching", "done", ...
  std::string phase;
  std::vector<LayerProgress> layers;
};

// Called from any thread, one call at a time, at most ten times a second and once at the end. May
// be empty. Must not block for long: the pull waits for it, never the transfer.
using ProgressFn = std::function<void(const Progress&)>;

}  // namespace skiff::image
