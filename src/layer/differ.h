// The reverse of applying: what changed between two trees, as an OCI layer's tar stream.
//
// Entries come in byte order of their names, parents first; a directory that changed only in its
// content is listed too, as Docker does, so that the layer applies without guessing. Deleted names
// become whiteouts, a directory that hides its lower self becomes an opaque one. Sockets are left
// out. Times carry nanoseconds, xattrs all but those of overlayfs, SELinux and NFS. Hard links
// within the layer stay links.
// The trees must not change meanwhile (a file that shrinks is DataLoss). Implementations are
// thread-safe. Nothing is written to the trees. Needs root.
#pragma once

#include <memory>
#include <string>

#include "base/context.h"
#include "base/stream.h"

namespace skiff::layer {

class Differ {
 public:
  virtual ~Differ() = default;

  // What an overlayfs upper directory changes of its lowers, which need not be there: cost follows
  // the upper's size.
  virtual Status diff_upper(const Context& context, const std::string& upper, ByteSink& tar) = 0;
  // Any two trees, compared by a walk over both: type, mode, owner, size, times, xattrs, link
  // target and device; the content where all these agree and the time has no parts of a second. An
  // empty `lower` lists everything.
  virtual Status diff_trees(const Context& context, const std::string& lower,
                            const std::string& upper, ByteSink& tar) = 0;
};

std::unique_ptr<Differ> make_tar_differ();

}  // namespace skiff::layer
