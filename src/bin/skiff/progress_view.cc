#include "bin/skiff/progress_view.h"

#include <algorithm>

#include <fmt/format.h>
#include <unistd.h>

#include "bin/skiff/output.h"
#include "bin/skiff/terminal.h"
#include "bin/skiff/text.h"
#include "sys/file.h"

namespace skiff::cli {
namespace {

using native::LayerProgress;
using native::LayerState;
using native::Progress;

constexpr size_t kNameWidth = 12;  // a short digest
constexpr size_t kStateWidth = 12;
constexpr size_t kAmountWidth = 19;  // "99.9 MB of 99.9 MB"
constexpr size_t kMaxBar = 40, kMinBar = 10;
constexpr auto kRedraw = std::chrono::milliseconds(60);

std::string_view state_name(LayerState state) {
  switch (state) {
    case LayerState::kWaiting: return "waiting";
    case LayerState::kPresent: return "already here";
    case LayerState::kRemote: return "remote";
    case LayerState::kDownloading: return "downloading";
    case LayerState::kUnpacking: return "unpacking";
    case LayerState::kPushing: return "pushing";
    case LayerState::kDone: return "done";
  }
  return "";
}

bool moves_bytes(LayerState state) {
  return state == LayerState::kDownloading || state == LayerState::kPushing;
}
bool is_over(LayerState state) {
  return state == LayerState::kPresent || state == LayerState::kRemote ||
         state == LayerState::kDone;
}

std::string amount(uint64_t offset, uint64_t total) {
  if (total == 0) return human_bytes(offset);
  return human_bytes(offset) + " of " + human_bytes(total);
}

std::string bar(uint64_t offset, uint64_t total, size_t width) {
  double part =
      total == 0 ? 0 : std::min(1.0, static_cast<double>(offset) / static_cast<double>(total));
  size_t inner = width - 2;
  auto full = static_cast<size_t>(part * static_cast<double>(inner));
  std::string out = "[" + std::string(full, '=');
  if (full < inner) out += '>' + std::string(inner - full - 1, ' ');
  return out + "]";
}

// The bar that fits beside `used` columns; empty where it would say nothing.
std::string fitting_bar(uint64_t offset, uint64_t total, size_t used, size_t width) {
  size_t room = width > used + 2 ? width - used - 2 : 0;
  if (room < kMinBar) return "";
  return bar(offset, total, std::min(room, kMaxBar)) + "  ";
}

// Half a number would be another number: a part is shown whole or not at all.
void append_whole(std::string& line, const std::string& part, size_t width) {
  if (columns(line) + columns(part) <= width) line += part;
}

std::string trimmed(std::string line) {
  while (line.ends_with(' ')) line.pop_back();
  return line;
}

std::string layer_line(const LayerProgress& layer, size_t width) {
  std::string line = pad(std::string(short_digest(layer.digest)), kNameWidth + 2);
  line += pad(std::string(state_name(layer.state)), kStateWidth + 2);
  if (moves_bytes(layer.state)) {
    line += fitting_bar(layer.offset, layer.total, columns(line) + kAmountWidth, width);
    append_whole(line, amount(layer.offset, layer.total), width);
  } else if (layer.total > 0 && layer.state != LayerState::kRemote) {
    append_whole(line, human_bytes(layer.total), width);
  }
  return trimmed(clip(line, width));
}

struct Sum {
  size_t layers = 0, over = 0;
  uint64_t offset = 0, total = 0;
};

Sum sum_of(const Progress& progress) {
  Sum sum;
  for (const LayerProgress& layer : progress.layers) {
    ++sum.layers;
    if (is_over(layer.state)) ++sum.over;
    // What was here before is no part of the work.
    if (layer.state == LayerState::kPresent || layer.state == LayerState::kRemote) continue;
    sum.total += layer.total;
    bool whole = layer.state == LayerState::kUnpacking || layer.state == LayerState::kDone;
    sum.offset += whole ? layer.total : std::min(layer.offset, layer.total);
  }
  return sum;
}

std::string summary_line(const ProgressItem& item, size_t width) {
  Sum sum = sum_of(item.progress);
  if (sum.layers == 0) return clip(item.progress.phase, width);
  std::string line = fmt::format("{} of {} layers", sum.over, sum.layers);
  if (sum.total > 0) append_whole(line, ", " + amount(sum.offset, sum.total), width);
  if (item.bytes_per_second > 0 && sum.offset < sum.total) {
    auto rate = static_cast<uint64_t>(item.bytes_per_second);
    append_whole(line, fmt::format(", {}/s", human_bytes(rate)), width);
    std::chrono::duration<double> left((sum.total - sum.offset) / item.bytes_per_second);
    if (left < std::chrono::days(1)) {
      auto seconds = std::chrono::ceil<std::chrono::seconds>(left);
      append_whole(line,
                   fmt::format(", {} left", seconds < std::chrono::seconds(60)
                                                ? fmt::format("{} s", seconds.count())
                                                : human_duration(seconds)),
                   width);
    }
  }
  return clip(line, width);
}

// One operation among several.
std::string short_line(const ProgressItem& item, size_t title_width, size_t width) {
  Sum sum = sum_of(item.progress);
  std::string line = pad(clip(item.title, title_width), title_width + 2);
  if (sum.total == 0) {
    line += item.progress.phase;
  } else {
    line += fitting_bar(sum.offset, sum.total, columns(line) + kAmountWidth, width);
    append_whole(line, amount(sum.offset, sum.total), width);
  }
  return trimmed(clip(line, width));
}

// Keeps the lines that say most: those that are under way before those that are over.
std::vector<std::string> layer_lines(const Progress& progress, size_t rows, size_t width) {
  std::vector<const LayerProgress*> shown;
  for (const LayerProgress& layer : progress.layers) shown.push_back(&layer);
  size_t hidden = 0;
  if (shown.size() > rows) {
    hidden = shown.size() - rows + (rows > 0 ? 1 : 0);
    size_t drop = hidden;
    for (bool over : {true, false}) {
      std::erase_if(shown, [&](const LayerProgress* layer) {
        return drop > 0 && (!over || is_over(layer->state)) && drop-- > 0;
      });
    }
  }
  std::vector<std::string> lines;
  for (const LayerProgress* layer : shown) lines.push_back(layer_line(*layer, width));
  if (hidden > 0 && rows > 0) lines.push_back(clip(fmt::format("and {} more", hidden), width));
  return lines;
}

}  // namespace

std::vector<std::string> render_progress(const std::vector<ProgressItem>& items,
                                         ScreenSize screen) {
  size_t rows = screen.rows > 1 ? screen.rows - 1 : 1;
  // A terminal wraps after its last column; stay clear of it.
  size_t width = screen.columns > 1 ? screen.columns - 1 : 1;
  std::vector<const ProgressItem*> open;
  for (const ProgressItem& item : items)
    if (!item.finished) open.push_back(&item);
  std::vector<std::string> lines;
  if (open.empty()) return lines;
  if (items.size() == 1) {
    const ProgressItem& item = *open.front();
    lines.push_back(clip(item.title, width));
    size_t room = rows > 2 ? rows - 2 : 0;
    for (std::string& line : layer_lines(item.progress, room, width))
      lines.push_back(std::move(line));
    if (lines.size() < rows) lines.push_back(summary_line(item, width));
    return lines;
  }
  size_t title_width = 0;
  for (const ProgressItem* item : open) title_width = std::max(title_width, columns(item->title));
  title_width = std::min(title_width, width / 2);
  for (const ProgressItem* item : open) {
    if (lines.size() + 1 == rows && open.size() > rows) {
      lines.push_back(clip(fmt::format("and {} more", open.size() - lines.size()), width));
      break;
    }
    lines.push_back(short_line(*item, title_width, width));
  }
  return lines;
}

double ProgressView::Rate::add(Clock::time_point now, uint64_t bytes) {
  constexpr auto kWindow = std::chrono::seconds(3);
  samples.emplace_back(now, bytes);
  while (samples.size() > 2 && now - samples.front().first > kWindow) samples.pop_front();
  double seconds = std::chrono::duration<double>(now - samples.front().first).count();
  if (seconds < 0.2 || bytes < samples.front().second) return 0;
  return static_cast<double>(bytes - samples.front().second) / seconds;
}

ProgressView::Style ProgressView::style_for(int fd, bool quiet) {
  if (quiet) return Style::kSilent;
  return can_redraw(fd) ? Style::kTerminal : Style::kPlain;
}

ProgressView::~ProgressView() {
  auto state = state_.lock();
  clear(*state);
}

size_t ProgressView::add(std::string title) {
  auto state = state_.lock();
  state->items.push_back({std::move(title), {}, 0, false});
  state->rates.emplace_back();
  return state->items.size() - 1;
}

void ProgressView::update(size_t item, native::Progress progress) {
  auto state = state_.lock();
  ProgressItem& each = state->items[item];
  if (style_ == Style::kPlain) print_changes(*state, item, progress);
  each.progress = std::move(progress);
  each.bytes_per_second = state->rates[item].add(Clock::now(), sum_of(each.progress).offset);
  draw(*state, "", false);
}

void ProgressView::finish(size_t item, const std::string& line) {
  auto state = state_.lock();
  state->items[item].finished = true;
  if (style_ == Style::kPlain && !line.empty()) write(line + "\n");
  draw(*state, line, true);
}

void ProgressView::fail(size_t item, std::string_view message) {
  auto state = state_.lock();
  state->items[item].finished = true;
  clear(*state);
  complain(message);
  draw(*state, "", true);
}

void ProgressView::clear(State& state) {
  if (state.drawn > 0) write(fmt::format("\x1b[{}A\r\x1b[J", state.drawn));
  state.drawn = 0;
}

void ProgressView::draw(State& state, const std::string& above, bool force) {
  if (style_ != Style::kTerminal) return;
  Clock::time_point now = Clock::now();
  if (!force && now - state.last_draw < kRedraw) return;
  state.last_draw = now;
  std::string out;
  if (state.drawn > 0) out += fmt::format("\x1b[{}A", state.drawn);
  out += "\r";
  if (!above.empty()) out += above + "\x1b[K\n";
  std::vector<std::string> lines = render_progress(state.items, screen_size(fd_));
  for (const std::string& line : lines) out += line + "\x1b[K\n";
  out += "\x1b[J";
  state.drawn = lines.size();
  write(out);
}

void ProgressView::print_changes(const State& state, size_t item, const native::Progress& next) {
  std::map<std::string_view, LayerState> before;
  for (const LayerProgress& layer : state.items[item].progress.layers)
    before[layer.digest] = layer.state;
  std::string out;
  for (const LayerProgress& layer : next.layers) {
    auto known = before.find(layer.digest);
    LayerState old = known == before.end() ? LayerState::kWaiting : known->second;
    if (old == layer.state) continue;
    if (state.items.size() > 1) out += state.items[item].title + ": ";
    out += fmt::format("{}: {}", short_digest(layer.digest), state_name(layer.state));
    if (moves_bytes(layer.state) && layer.total > 0) out += " " + human_bytes(layer.total);
    out += "\n";
  }
  if (!out.empty()) write(out);
}

void ProgressView::write(const std::string& text) {
  // A progress display that cannot be seen is no reason to fail.
  static_cast<void>(sys::write_fd(fd_, as_bytes(text)));
}

}  // namespace skiff::cli
