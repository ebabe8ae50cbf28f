#include "bin/skiff/progress_view.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "bin/skiff/text.h"
#include "sys/file.h"
#include "tests/lib/golden.h"

namespace skiff::cli {
namespace {

using native::LayerState;

std::string digest(int n) { return "sha256:" + std::string(64, static_cast<char>('a' + n)); }

native::Progress pulling() {
  native::Progress progress;
  progress.phase = "fetching";
  progress.layers = {{digest(1), LayerState::kPresent, 0, 30'000'000},
                     {digest(2), LayerState::kDone, 12'000'000, 12'000'000},
                     {digest(3), LayerState::kUnpacking, 45'600'000, 45'600'000},
                     {digest(4), LayerState::kDownloading, 12'300'000, 45'600'000},
                     {digest(5), LayerState::kDownloading, 0, 328'000'000},
                     {digest(6), LayerState::kRemote, 0, 5'000'000},
                     {digest(7), LayerState::kWaiting, 0, 1'234}};
  return progress;
}

std::string joined(const std::vector<std::string>& lines) {
  std::string out;
  for (const std::string& line : lines) out += line + "\n";
  return out;
}

std::string rendered(const std::vector<ProgressItem>& items, ScreenSize screen) {
  std::vector<std::string> lines = render_progress(items, screen);
  EXPECT_LT(lines.size(), screen.rows);
  for (const std::string& line : lines) EXPECT_LT(columns(line), screen.columns) << line;
  return joined(lines);
}

TEST(Progress, OneOperationHasALineALayer) {
  std::vector<ProgressItem> items = {{"redis:7", pulling(), 85'200'000}};
  testing::expect_golden("cli/progress_100x24.txt", rendered(items, {100, 24}));
  testing::expect_golden("cli/progress_60x24.txt", rendered(items, {60, 24}));
  testing::expect_golden("cli/progress_30x24.txt", rendered(items, {30, 24}));
}

TEST(Progress, ALowScreenShowsWhatIsUnderWay) {
  std::vector<ProgressItem> items = {{"redis:7", pulling(), 0}};
  testing::expect_golden("cli/progress_80x7.txt", rendered(items, {80, 7}));
  for (size_t rows = 2; rows < 12; ++rows)
    for (size_t columns : {2, 10, 40}) rendered(items, {columns, rows});
}

TEST(Progress, SeveralOperationsHaveALineEach) {
  std::vector<ProgressItem> items = {{"redis:7", pulling(), 85'200'000},
                                     {"localhost:5000/golang:1", {"resolving", {}}, 0},
                                     {"busybox:latest", pulling(), 0, true}};
  testing::expect_golden("cli/progress_several.txt", rendered(items, {80, 24}));
  for (int i = 0; i < 40; ++i) items.push_back({fmt::format("image:{}", i), pulling()});
  std::vector<std::string> lines = render_progress(items, {80, 10});
  EXPECT_EQ(lines.size(), 9u);
  EXPECT_EQ(lines.back(), "and 34 more");
}

TEST(Progress, NothingOpenIsNothingDrawn) {
  EXPECT_TRUE(render_progress({{"redis:7", pulling(), 0, true}}, {80, 24}).empty());
}

// What a view writes to a file, as it would to a terminal or a log.
std::string written(ProgressView::Style style) {
  sys::TempDir folder;
  sys::Path file = folder.path() / "out";
  sys::UniqueFd fd = *sys::open_file(file, O_RDWR | O_CREAT);
  {
    ProgressView view(style, fd.get());
    size_t item = view.add("redis:7");
    view.update(item, pulling());
    view.update(item, pulling());
    view.finish(item, "redis:7: done");
  }
  return *sys::read_file(file);
}

TEST(Progress, ALogHasALineAChange) {
  testing::expect_golden("cli/progress_plain.txt", written(ProgressView::Style::kPlain));
}

TEST(Progress, TheTerminalIsLeftWithTheLastLineAlone) {
  std::string text = written(ProgressView::Style::kTerminal);
  EXPECT_NE(text.find("downloading"), std::string::npos);
  EXPECT_TRUE(text.ends_with("\x1b[9A\rredis:7: done\x1b[K\n\x1b[J")) << text;
}

TEST(Progress, SilenceIsKept) { EXPECT_EQ(written(ProgressView::Style::kSilent), ""); }

}  // namespace
}  // namespace skiff::cli
