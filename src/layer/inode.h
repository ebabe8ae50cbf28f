// What an inode carries besides content: owner, mode, times, xattrs; and overlayfs's marks.
// Fact: the kernel's Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories".
#pragma once

#include <span>
#include <string>
#include <vector>

#include <sys/stat.h>

#include "base/error.h"
#include "codec/tar/entry.h"

namespace skiff::layer {

inline constexpr const char* kOverlayOpaque = "trusted.overlay.opaque";

// An inode named through its directory (or, with an empty base, by its own fd). Symlinks are not
// followed.
struct Place {
  int dir;
  const std::string& base;
};

bool is_whiteout(const struct stat& st);

// xattrs that belong to the host or to overlayfs and neither enter nor leave a layer.
bool is_host_xattr(std::string_view name);

// A path for the calls that know no directory fds.
std::string proc_path(Place place);
std::string proc_path(int fd);

// All xattrs of the path but the host's, sorted by name; none where the file system has none.
Result<std::vector<codec::tar::Xattr>> list_xattrs(const std::string& path);
// Sets one; false when the file system (or this kind of inode) does not take it.
Result<bool> set_xattr(const std::string& path, const codec::tar::Xattr& xattr);
// Makes the xattrs of `path` just these (the host's stay as they are).
Status replace_xattrs(const std::string& path, std::span<const codec::tar::Xattr> xattrs,
                      uint64_t& dropped);

Status mark_opaque(int dir_fd);
Result<bool> is_opaque(int dir_fd);

// The names in a directory but . and .., in no order.
Result<std::vector<std::string>> list_names(int dir_fd);

timespec to_timespec(const codec::tar::Time& time);

// Owner, mode, xattrs and times of the directory `from`, onto the directory `to`.
Status copy_directory_metadata(int from, int to);

// A copy of a non-directory with all it carries. AlreadyExists where `to` is taken.
Status copy_inode(Place from, Place to);

// Puts a directory's times back at its end: for steps that change what is in it.
class KeepTimes {
 public:
  explicit KeepTimes(int dir_fd);
  ~KeepTimes();
  KeepTimes(const KeepTimes&) = delete;

 private:
  int fd_;
  timespec times_[2];
};

}  // namespace skiff::layer
