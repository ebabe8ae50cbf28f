// What a consistency check found wrong: one value a fault, for `fsck` to print.
#pragma once

#include <string>

namespace skiff {

struct Finding {
  std::string kind;         // a constant word that scripts can match: "blob-missing"
  std::string subject;      // the digest, snapshot id, path
  std::string detail;       // what is wrong and, where not plain, what to do
  bool repairable = false;  // by the checker's own `repair`
};

}  // namespace skiff
