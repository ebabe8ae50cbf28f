// Layers written entry by entry, and trees read back entry by entry, for tests of apply and diff.
#pragma once

#include <initializer_list>
#include <map>
#include <string>
#include <vector>

#include "codec/tar/entry.h"

namespace skiff::testing {

// An entry with its content; the setters chain: item_file("a", "x").mode(0600).owner(1, 2).time(3).
struct Item {
  codec::tar::Entry entry;
  std::string content;

  Item mode(uint32_t mode) const;
  Item owner(uint32_t uid, uint32_t gid) const;
  Item time(int64_t seconds, int32_t nanoseconds = 0) const;
  Item xattr(std::string name, std::string value) const;
  Item device(uint32_t dev_major, uint32_t dev_minor) const;
};
// Modes 0644, or 0755 for directories; time 1000; owner root.
Item item_file(std::string name, std::string content = "");
Item item_dir(std::string name);
Item item_link(std::string name, std::string target);
Item item_symlink(std::string name, std::string target);
Item item_fifo(std::string name);
Item item_char(std::string name, uint32_t dev_major, uint32_t dev_minor);
// An empty file of that name, such as "a/.wh.b".
Item item_whiteout(std::string name);

using LayerItems = std::vector<Item>;
std::string layer_tar(const LayerItems& items);

// Path below the root ("." is the root) -> one line with type, mode, owner, time, size, a hash of
// the content, link target, xattrs, device, and the first path of the same inode.
using Listing = std::map<std::string, std::string>;
Listing list_tree(const std::string& root);
// The lines in which the two differ, "" where they do not.
std::string difference(const Listing& a, const Listing& b);

}  // namespace skiff::testing
