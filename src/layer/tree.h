// Directories below a root, resolved inside it and kept open, so an entry costs no path walk.
//
// Paths are clean names (layer/names.h); "" is the root. A directory on the way that is a symlink
// is followed inside the root, as after chroot(2). Not thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>

#include <sys/stat.h>

#include "base/error.h"
#include "sys/fd.h"

namespace skiff::layer {

struct Dir {
  std::string path;  // where it really is: no symlink on the way
  sys::UniqueFd fd;
  bool setgid = false;   // what is made in it takes its group
  bool touched = false;  // for the owner's bookkeeping
};

class Tree {
 public:
  // What the owner wants to know while directories are resolved.
  class Watcher {
   public:
    virtual ~Watcher() = default;
    // One was opened, or is about to change, for the first time since `forget` or again.
    virtual void opened(const std::string& path, const struct stat& st) = 0;
    // One was made since an entry lies below it; `over_whiteout` when it took a whiteout's place.
    virtual void made(const std::string& path, bool over_whiteout) = 0;
    // A symlink on the way was followed.
    virtual void followed() = 0;
    // A symlink's ".." left the directory `path`.
    virtual void climbed(const std::string& path) = 0;
  };

  // `overlay`: the tree is an overlayfs upper, where character devices 0,0 stand for nothing.
  Tree(int root, bool overlay, Watcher& watcher);

  // The directory of that name; missing ones are made (0755, the caller's owner). InvalidArgument
  // where something else is in the way. The result lives until the next trim.
  Result<Dir*> make(std::string_view path) { return resolve(path, true); }
  // The same but null where it is missing (or hidden by a whiteout).
  Result<Dir*> find(std::string_view path) { return resolve(path, false); }
  // Where the directory `path` would be, symlinks resolved as far as the tree goes; its missing end
  // is kept as it is. InvalidArgument where something else, or a whiteout, is in the way.
  Result<std::string> locate(std::string_view path);

  // Takes a directory that was just made or opened into the cache.
  Dir* adopt(std::string path, sys::UniqueFd fd, bool setgid);
  // A directory or symlink went away or changed: nothing is known any more from the next trim on.
  void forget() { stale_ = true; }
  // Closes what is cached when it is much, or stale. Call it between entries, no Dir being in use.
  void trim();

 private:
  struct Walk;

  Result<Dir*> resolve(std::string_view path, bool create);
  Result<Dir*> walk(std::string_view path, bool create);
  Status step(Walk& walk, const std::string& name, bool create) const;
  Status follow(Walk& walk, const std::string& name) const;
  Status climb(Walk& walk) const;
  Status make_at(Walk& walk, const std::string& name, bool over_whiteout) const;

  int root_;
  bool overlay_;
  Watcher& watcher_;
  std::unordered_map<std::string, Dir> dirs_;
  std::unordered_map<std::string, Dir*> aliases_;  // paths that lead through symlinks
  Dir* last_ = nullptr;
  bool stale_ = false;
};

}  // namespace skiff::layer
