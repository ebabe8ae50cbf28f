// A compressed layer blob, streamed through all its stages at once: sha256 of the blob, inflate,
// sha256 for the diff ID, untar.
//
// Two threads a layer: the caller's reads, hashes the blob and inflates into a ring of buffers; a
// second one hashes and untars from it. (Measured: on two cores these halves weigh about the same,
// and a third thread only adds switches.) Memory a layer: about 3 MiB, and a zstd window.
//
// The expectations hold before success is told: DataLoss names which digest or size is wrong.
// Errors of the tar come as they are unless the blob itself is wrong, which then is the better
// news.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "base/context.h"
#include "base/digest.h"
#include "base/stream.h"
#include "codec/compression.h"
#include "codec/window.h"
#include "layer/applier.h"

namespace skiff::layer {

// Where the time went, in nanoseconds. The stages overlap: they do not sum up to `total`.
struct StageTimes {
  uint64_t wait = 0;  // for the blob's source
  uint64_t blob_hash = 0;
  uint64_t inflate = 0;
  uint64_t full = 0;  // the inflating half waited for the untarring half
  uint64_t diff_hash = 0;
  uint64_t untar = 0;
  uint64_t total = 0;
};

struct Expected {
  // Absent: detected by the first bytes.
  std::optional<codec::Compression> compression;
  // Empty: not checked (the caller's source verifies, or there is none yet). For a size: no value.
  Digest blob;
  std::optional<uint64_t> blob_size;
  Digest diff_id;
  // The blob's own digest need not be computed, since the source is a verified blob. Then
  // Outcome::blob is `blob`, unchecked.
  bool blob_is_verified = false;
};

struct Outcome {
  Digest blob;
  Digest diff_id;
  uint64_t blob_size = 0;
  uint64_t diff_size = 0;  // of the plain tar stream
  codec::Compression compression = codec::Compression::kNone;
  StageTimes times;
};

// What the untarring half does with the plain stream; it runs on the second thread. What it leaves
// unread is read for it.
using Consume = std::function<Status(codec::Window& tar)>;

// Runs the stages to their end. When a half fails the other is stopped: the source is not read any
// further than the piece under way.
Result<Outcome> run_pipeline(const Context& context, ByteSource& blob, const Expected& expected,
                             const Consume& consume);

// The pipeline into Applier::apply_staged.
struct StagedOutcome {
  Outcome outcome;
  StagedLayer layer;
};
Result<StagedOutcome> stage_layer(const Context& context, ByteSource& blob,
                                  const Expected& expected, Applier& applier, int staging,
                                  const ApplyOptions& options);
// The pipeline into Applier::apply_mounted.
Result<Outcome> apply_layer(const Context& context, ByteSource& blob, const Expected& expected,
                            Applier& applier, int root, const ApplyOptions& options);

}  // namespace skiff::layer
