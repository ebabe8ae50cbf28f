// Golden files: what a format looked like when somebody last read it through.
#pragma once

#include <cstdlib>
#include <string>

#include <gtest/gtest.h>

#include "sys/file.h"

namespace skiff::testing {

// Expects `text` to equal tests/golden/<name>. With SKIFF_UPDATE_GOLDEN set it writes the file
// instead; look at the difference before committing it.
inline void expect_golden(const std::string& name, const std::string& text) {
  sys::Path path = sys::Path(SKIFF_SOURCE_DIR) / "tests/golden" / name;
  if (std::getenv("SKIFF_UPDATE_GOLDEN")) {
    ASSERT_TRUE(sys::write_file(path, text));
    return;
  }
  auto golden = sys::read_file(path);
  ASSERT_TRUE(golden) << golden.error().message();
  EXPECT_EQ(text, *golden) << "differs from " << path;
}

}  // namespace skiff::testing
