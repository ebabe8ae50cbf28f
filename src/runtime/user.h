// Users and groups as the container's own files name them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "sys/file.h"

namespace skiff::runtime {

struct User {
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::vector<uint32_t> additional_gids;
  std::string home;  // from passwd; empty when there is no entry
};

// Resolves "", "user", "uid", "user:group", "uid:gid" and mixtures in /etc/passwd and /etc/group
// below `root`, following links but never out of it. Numbers need no entry; a number that has one
// takes its group and home from it. Without a group the user's supplementary groups count, too.
// `groups` are further groups, names or numbers. InvalidArgument names what was not found.
Result<User> resolve_user(const sys::Path& root, const std::string& user,
                          const std::vector<std::string>& groups);

}  // namespace skiff::runtime
