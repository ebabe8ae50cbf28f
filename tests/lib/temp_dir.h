// A folder of its own for a test, with the means to put files there.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "sys/file.h"

namespace skiff::testing {

class TempDir : public sys::TempDir {
 public:
  std::string operator/(const std::string& name) const { return (path() / name).string(); }
  // Writes a file (with its directories) and returns its path.
  std::string write(const std::string& name, const std::string& text) const {
    std::filesystem::path file = path() / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << text;
    return file;
  }
};

}  // namespace skiff::testing
