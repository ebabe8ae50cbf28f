#include "layer/stack_view.h"

#include <algorithm>
#include <cerrno>
#include <climits>

#include <fcntl.h>
#include <unistd.h>

#include "layer/inode.h"
#include "layer/names.h"
#include "sys/file.h"

namespace skiff::layer {

using sys::UniqueFd;

namespace {

// Each part is an open fd; more than this are not kept.
constexpr size_t kMaxKnownParts = 256;
constexpr int kMaxLinks = 40;  // as in the kernel's path walk

Result<std::string> read_link(int dir, const std::string& name) {
  char target[PATH_MAX];
  ssize_t n = readlinkat(dir, name.c_str(), target, sizeof target);
  if (n < 0) return fail_errno(errno, "read link {}", shown(name));
  return std::string(target, static_cast<size_t>(n));
}

}  // namespace

StackView::StackView(std::vector<UniqueFd> layers) {
  for (size_t i = 0; i < layers.size(); ++i)
    root_.push_back({i, std::make_shared<UniqueFd>(std::move(layers[i]))});
}

Result<StackView> StackView::open(std::span<const std::string> layers) {
  std::vector<UniqueFd> fds;
  for (const std::string& layer : layers) fds.push_back(SKIFF_TRY(sys::open_dir(layer)));
  return StackView(std::move(fds));
}

Result<Found> StackView::look(const std::vector<Part>& parts, const std::string& name,
                              size_t top) const {
  Found found;
  for (const Part& part : parts) {
    if (part.layer < top) continue;
    struct stat st{};
    if (fstatat(part.fd->get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) continue;
      return fail_errno(errno, "stat {}", shown(name));
    }
    if (S_ISDIR(st.st_mode)) {
      UniqueFd fd(
          openat(part.fd->get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (!fd) return fail_errno(errno, "open {}", shown(name));
      bool opaque = SKIFF_TRY(is_opaque(fd.get()));
      if (found.parts.empty()) found.stat = st;
      found.kind = Found::Kind::kDirectory;
      found.parts.push_back({part.layer, std::make_shared<UniqueFd>(std::move(fd))});
      if (opaque) break;
      continue;
    }
    // Below a directory anything else ends the merge.
    if (found.kind == Found::Kind::kDirectory || is_whiteout(st)) break;
    found.kind = S_ISLNK(st.st_mode) ? Found::Kind::kSymlink : Found::Kind::kOther;
    found.layer = part.layer;
    found.in = part.fd;
    found.stat = st;
    if (S_ISLNK(st.st_mode)) found.target = SKIFF_TRY(read_link(part.fd->get(), name));
    break;
  }
  return found;
}

Result<std::vector<Part>> StackView::directory(const std::string& path) {
  if (path.empty()) return root_;
  if (auto it = known_.find(path); it != known_.end()) return it->second;
  // From the nearest known parent down.
  std::string_view known = split_name(path).parent;
  while (!known.empty() && !known_.contains(std::string(known))) known = split_name(known).parent;
  std::vector<Part> parts = known.empty() ? root_ : known_.at(std::string(known));
  std::string at(known);
  while (at.size() < path.size()) {
    size_t begin = at.empty() ? 0 : at.size() + 1;
    std::string name = path.substr(begin, path.find('/', begin) - begin);
    parts = std::move(SKIFF_TRY(look(parts, name)).parts);
    at = join_name(at, name);
  }
  if (known_parts_ > kMaxKnownParts) forget();
  known_parts_ += parts.size();
  known_[path] = parts;
  return parts;
}

namespace {

// Puts the components of `text` on a stack whose back comes next.
void push_components(std::vector<std::string>& rest, const std::string& text) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = std::min(text.find('/', begin), text.size());
    std::string part = text.substr(begin, end - begin);
    if (!part.empty() && part != ".") parts.push_back(std::move(part));
    begin = end + 1;
  }
  rest.insert(rest.end(), parts.rbegin(), parts.rend());
}

}  // namespace

Result<std::optional<std::string>> follow_path(std::string at, const std::string& target,
                                               const Look& look) {
  int links = 0;
  std::vector<std::string> rest;
  auto enter = [&](const std::string& text) {
    if (text.starts_with('/')) at.clear();
    push_components(rest, text);
  };
  enter(target);
  while (!rest.empty()) {
    std::string name = std::move(rest.back());
    rest.pop_back();
    if (name == "..") {
      at = split_name(at).parent;
      continue;
    }
    std::string path = join_name(at, name);
    Found found = SKIFF_TRY(look(at, name, path));
    if (found.kind == Found::Kind::kOther || path.size() >= PATH_MAX) return std::nullopt;
    if (found.kind != Found::Kind::kSymlink) {
      at = std::move(path);
      continue;
    }
    if (++links > kMaxLinks) return std::nullopt;
    enter(found.target);
  }
  return at;
}

}  // namespace skiff::layer
