// What overlayfs would show of a stack of directories, without mounting them: which layers a
// directory merges, and what a name in it is. Whiteouts and opaque marks count as in the kernel
// (Documentation/filesystems/overlayfs.rst); redirects and metacopy do not occur in our layers.
// Not thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include <sys/stat.h>

#include "base/error.h"
#include "sys/fd.h"

namespace skiff::layer {

// One layer's part of a merged directory.
struct Part {
  size_t layer;  // index into the stack, 0 topmost
  std::shared_ptr<sys::UniqueFd> fd;
};

// What a name is in the merged view.
struct Found {
  enum class Kind { kNothing, kDirectory, kSymlink, kOther } kind = Kind::kNothing;
  std::vector<Part> parts;  // of a directory, topmost first
  size_t layer = 0;         // of all others: where it lies, in a directory with the fd `in`
  std::shared_ptr<sys::UniqueFd> in;
  struct stat stat{};
  std::string target;  // of a symlink
};

class StackView {
 public:
  // The fds of the layers, topmost first; they are taken over.
  explicit StackView(std::vector<sys::UniqueFd> layers);
  static Result<StackView> open(std::span<const std::string> layers);

  const std::vector<Part>& root() const { return root_; }
  // `name` in a directory with these parts; the parts of layers above `top` do not count.
  Result<Found> look(const std::vector<Part>& parts, const std::string& name, size_t top = 0) const;
  // The parts of the directory at a path without symlinks; none where there is no directory.
  Result<std::vector<Part>> directory(const std::string& path);
  // Forgets what `directory` found: a layer was changed.
  void forget() {
    known_.clear();
    known_parts_ = 0;
  }

 private:
  std::vector<Part> root_;
  std::unordered_map<std::string, std::vector<Part>> known_;
  size_t known_parts_ = 0;
};

// Where `target` (a symlink's text) leads from the directory `at`, inside the root, its components
// being what `look` says: called with the directory, the name, and both joined. The end may be
// missing. Nothing where something on the way is no directory, or symlinks lead in circles.
using Look = std::function<Result<Found>(const std::string& at, const std::string& name,
                                         const std::string& path)>;
Result<std::optional<std::string>> follow_path(std::string at, const std::string& target,
                                               const Look& look);

}  // namespace skiff::layer
