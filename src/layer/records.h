// What a staging directory still lacks (layer/applier.h, StagedLayer): written while the layer is
// untarred, read when it is settled. Paths are clean names relative to the staging directory, with
// the layer's own symlinks resolved.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>

#include "layer/applier.h"

namespace skiff::layer {

// A directory that the layer uses but has no entry for.
struct ImplicitDir {
  bool needed = false;    // something else than a whiteout lies below it
  bool fresh = false;     // the layer removed that name first: the lowers' self does not count
  bool replaced = false;  // later an entry of the layer took its place, or became it
};

struct StagedLayer::Records {
  std::map<std::string, ImplicitDir, std::less<>> implicit;  // parents sort before their children
  std::map<std::string, std::string, std::less<>> links;     // hard link -> target in the lowers
  std::set<std::string, std::less<>> spent_targets;          // of links that later entries replaced
  std::set<std::string, std::less<>> whiteouts;
  std::set<std::string, std::less<>> climbed;  // directories that a symlink's ".." left
  bool followed = false;                       // a symlink of this layer was followed
  bool opaque_root = false;                    // the kernel takes no opaque mark on a root
  std::string tangle;  // why only the mounted form can tell the outcome; empty: it can be told
  std::optional<Error>
      refusal;  // an entry's error, where another outcome of those before could avoid it
  ApplyStats stats;

  // `path` and all below it were removed.
  void drop(const std::string& path);
  // The hard link at `path` is not to be made after all; its target must be there all the same.
  void spend_link(std::string_view path);
  // Whether a name was used as a directory of the lowers and then replaced.
  bool any_replaced() const;
};

}  // namespace skiff::layer
