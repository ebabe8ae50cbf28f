#include "tests/lib/layers.h"

#include <filesystem>
#include <vector>

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/check.h"
#include "base/digest.h"
#include "codec/hash.h"
#include "codec/tar/writer.h"
#include "layer/inode.h"
#include "sys/file.h"

namespace skiff::testing {

using codec::tar::EntryType;

namespace {

Item item(EntryType type, std::string name, uint32_t mode) {
  Item item;
  item.entry.type = type;
  item.entry.name = std::move(name);
  item.entry.mode = mode;
  item.entry.mtime = {1000, 0};
  return item;
}

char type_letter(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG: return '-';
    case S_IFDIR: return 'd';
    case S_IFLNK: return 'l';
    case S_IFCHR: return 'c';
    case S_IFBLK: return 'b';
    case S_IFIFO: return 'p';
    default: return '?';
  }
}

std::string describe(const std::string& path, const struct stat& st, const std::string& same_as) {
  std::string line =
      fmt::format("{} {:04o} {}:{} {}.{:09}", type_letter(st.st_mode), st.st_mode & 07777,
                  st.st_uid, st.st_gid, st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
  if (S_ISREG(st.st_mode))
    line += fmt::format(" size={} {}", st.st_size,
                        codec::digest_of(sys::read_file(path, 256 << 20).value()).short_hex());
  if (S_ISLNK(st.st_mode)) line += " -> " + std::filesystem::read_symlink(path).string();
  if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
    line += fmt::format(" {},{}", major(st.st_rdev), minor(st.st_rdev));
  auto xattrs = layer::list_xattrs(path).value();
  for (const auto& xattr : xattrs)
    line += fmt::format(" {}={}", xattr.name, codec::digest_of(xattr.value).short_hex());
  if (!same_as.empty()) line += " same as " + same_as;
  return line;
}

}  // namespace

Item Item::mode(uint32_t mode) const {
  Item copy = *this;
  copy.entry.mode = mode;
  return copy;
}
Item Item::owner(uint32_t uid, uint32_t gid) const {
  Item copy = *this;
  copy.entry.uid = uid;
  copy.entry.gid = gid;
  return copy;
}
Item Item::time(int64_t seconds, int32_t nanoseconds) const {
  Item copy = *this;
  copy.entry.mtime = {seconds, nanoseconds};
  return copy;
}
Item Item::xattr(std::string name, std::string value) const {
  Item copy = *this;
  copy.entry.xattrs.push_back({std::move(name), std::move(value)});
  return copy;
}
Item Item::device(uint32_t dev_major, uint32_t dev_minor) const {
  Item copy = *this;
  copy.entry.dev_major = dev_major;
  copy.entry.dev_minor = dev_minor;
  return copy;
}

Item item_file(std::string name, std::string content) {
  Item file = item(EntryType::kFile, std::move(name), 0644);
  file.entry.size = content.size();
  file.content = std::move(content);
  return file;
}
Item item_dir(std::string name) { return item(EntryType::kDirectory, std::move(name), 0755); }
Item item_link(std::string name, std::string target) {
  Item link = item(EntryType::kHardLink, std::move(name), 0644);
  link.entry.link_name = std::move(target);
  return link;
}
Item item_symlink(std::string name, std::string target) {
  Item link = item(EntryType::kSymlink, std::move(name), 0777);
  link.entry.link_name = std::move(target);
  return link;
}
Item item_fifo(std::string name) { return item(EntryType::kFifo, std::move(name), 0644); }
Item item_char(std::string name, uint32_t dev_major, uint32_t dev_minor) {
  return item(EntryType::kCharDevice, std::move(name), 0644).device(dev_major, dev_minor);
}
Item item_whiteout(std::string name) { return item_file(std::move(name)); }

std::string layer_tar(const LayerItems& items) {
  StringSink sink;
  codec::tar::Writer writer(sink);
  for (const Item& item : items)
    SKIFF_CHECK(writer.add(item.entry) && writer.write(as_bytes(item.content)),
                "the entry can be written");
  SKIFF_CHECK(writer.finish().has_value(), "the archive can be ended");
  return sink.take();
}

Listing list_tree(const std::string& root) {
  namespace fs = std::filesystem;
  std::map<std::string, struct stat> found;
  struct stat st{};
  SKIFF_CHECK(lstat(root.c_str(), &st) == 0, "the tree is there");
  found["."] = st;
  for (auto it = fs::recursive_directory_iterator(root); it != fs::recursive_directory_iterator();
       ++it) {
    SKIFF_CHECK(lstat(it->path().c_str(), &st) == 0, "the entry is there");
    found[it->path().lexically_relative(root).string()] = st;
  }
  std::map<std::pair<dev_t, ino_t>, std::string> first;
  Listing listing;
  for (const auto& [path, stat] : found) {
    std::string same_as;
    if (!S_ISDIR(stat.st_mode)) {
      auto [it, fresh] = first.try_emplace({stat.st_dev, stat.st_ino}, path);
      if (!fresh) same_as = it->second;
    }
    listing[path] = describe(root + "/" + path, stat, same_as);
  }
  return listing;
}

std::string difference(const Listing& a, const Listing& b) {
  std::string text;
  for (const auto& [path, line] : a) {
    auto it = b.find(path);
    if (it == b.end())
      text += fmt::format("  only first:  {}: {}\n", path, line);
    else if (it->second != line)
      text += fmt::format("  {}:\n    first:  {}\n    second: {}\n", path, line, it->second);
  }
  for (const auto& [path, line] : b)
    if (!a.contains(path)) text += fmt::format("  only second: {}: {}\n", path, line);
  return text;
}

}  // namespace skiff::testing
