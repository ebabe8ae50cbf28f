// Applying a layer: an OCI layer's tar stream becomes a directory tree.
//
// Two forms, one meaning (tests/suites/layer_equivalence_test.cc holds them to it):
//  - mounted: onto the parent's tree, in chain order. Whiteouts delete. For the native driver, the
//    proxy snapshotters, and layers that the overlay form hands back.
//  - overlay: each layer into its own empty staging directory, without its parent, so all layers of
//    an image can run side by side; then, in chain order, `settle` puts right what only the lowers
//    could tell. The result is an overlayfs upper (or lower) directory.
//
// Rules that both forms keep (docs/decisions has the reasons):
//  - Names are relative to the layer's root however they are written; one that climbs above it is
//    refused. Each directory on the way to an entry is resolved inside the root, symlinks included
//    (of this layer or of the lowers), and made as 0755 root:root at time 0 where it is missing.
//  - An entry replaces what has its name, except that a directory over a directory keeps the
//  content.
//  - A whiteout (.wh.NAME) hides NAME of the lowers, .wh..wh..opq all that the lowers hold in that
//    directory; neither touches what this layer brought, wherever in the stream it stands.
//    Other names that start with .wh..wh. are the business of AUFS and skipped.
//  - A directory's own time is what its last entry says, or stays what the lowers say.
//  - A hard link takes no owner, mode, time or xattr from its entry.
//  - A character device 0,0 is refused, and xattrs that overlayfs reads are dropped: a layer must
//  not
//    speak to the kernel's overlay. Xattrs that the file system does not support are dropped too.
//
// InvalidArgument: the layer is malformed or hostile; the error names the entry. PermissionDenied:
// it holds a device node where those are not allowed. ResourceExhausted: a limit, or a full disk.
// DataLoss: the stream is torn. FailedPrecondition: see settle. Canceled, DeadlineExceeded: ctx.
// After an error the directory holds rubbish; nothing outside it was touched. A crash leaves the
// same: nothing is synced here, and the caller makes a layer visible only after success.
// Needs root. Implementations are thread-safe: any number of layers at once, one call a directory.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/context.h"
#include "base/error.h"
#include "codec/window.h"

namespace skiff::layer {

struct ApplyLimits {
  uint64_t entries = 4'000'000;
  uint64_t bytes = uint64_t{1} << 40;  // content as stored in the tar
  uint64_t file_bytes = uint64_t{1} << 42;
  size_t path_components = 1000;  // names of more are refused, and of more than PATH_MAX bytes
};

struct ApplyOptions {
  ApplyLimits limits;
  bool allow_devices = true;
};

struct ApplyStats {
  uint64_t entries = 0;
  uint64_t bytes = 0;           // written to files
  uint64_t dropped_xattrs = 0;  // which the file system did not take
};

// What a staging directory still lacks; moves from apply_staged to settle.
class StagedLayer {
 public:
  StagedLayer();
  ~StagedLayer();
  StagedLayer(StagedLayer&&) noexcept;
  StagedLayer& operator=(StagedLayer&&) noexcept;

  ApplyStats stats() const;
  // True when settle has nothing to look up in the lowers (all parents listed, as Docker writes
  // it).
  bool self_contained() const;

  struct Records;
  Records& records() { return *records_; }
  const Records& records() const { return *records_; }

 private:
  std::unique_ptr<Records> records_;
};

class Applier {
 public:
  virtual ~Applier() = default;

  // The overlay form, first half: `staging` is the fd of an empty directory on a file system that
  // can hold overlayfs uppers. Reads the tar to its end, not the stream past it.
  virtual Result<StagedLayer> apply_staged(const Context& context, codec::Window& tar, int staging,
                                           const ApplyOptions& options) = 0;
  // The second half: `lowers` are the settled directories of the layers below, topmost first (empty
  // for a base layer). FailedPrecondition: this layer's entries stand in an order whose outcome
  // depends on the lowers (a name both used through a lower's symlink and replaced): empty the
  // directory and apply the layer in the mounted form onto an overlay mount of these lowers.
  virtual Status settle(const Context& context, StagedLayer& layer, int staging,
                        std::span<const std::string> lowers) = 0;

  // The mounted form: `root` is the fd of the parent's tree, writable.
  virtual Result<ApplyStats> apply_mounted(const Context& context, codec::Window& tar, int root,
                                           const ApplyOptions& options) = 0;
};

std::unique_ptr<Applier> make_tar_applier();

// Gives the root of a new overlayfs upper directory (its fd) the owner, mode, xattrs and times of
// the topmost lower's root, which overlayfs itself does not. To be done before a layer is applied
// onto an overlay mount; settle does it by itself.
Status inherit_root(int upper, const std::string& lower);

}  // namespace skiff::layer
