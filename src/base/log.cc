#include "base/log.h"

#include <atomic>
#include <ctime>

#include <unistd.h>

namespace skiff::log {
namespace {

std::atomic<Level> g_level{Level::kInfo};
std::atomic<Format> g_format{Format::kLogfmt};
std::atomic<int> g_fd{2};

constexpr std::string_view kLevelNames[] = {"debug", "info", "warning", "error"};

std::string now_rfc3339() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  tm utc{};
  gmtime_r(&now.tv_sec, &utc);
  char date[32];
  strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc);
  return fmt::format("{}.{:06}Z", date, now.tv_nsec / 1000);
}

// JSON string rules serve logfmt too: a value with a space, quote or control character is quoted.
void append_quoted(std::string& line, std::string_view text) {
  line += '"';
  for (unsigned char c : text) {
    switch (c) {
      case '"': line += "\\\""; break;
      case '\\': line += "\\\\"; break;
      case '\n': line += "\\n"; break;
      case '\t': line += "\\t"; break;
      default:
        if (c < 0x20 || c == 0x7f) {
          line += fmt::format("\\u{:04x}", c);
        } else {
          line += static_cast<char>(c);
        }
    }
  }
  line += '"';
}

bool plain(std::string_view text) {
  if (text.empty()) return false;
  for (unsigned char c : text)
    if (c <= 0x20 || c == '"' || c == '=' || c == '\\' || c == 0x7f) return false;
  return true;
}

std::string logfmt_line(Level level, std::string_view message, Fields fields) {
  std::string line =
      fmt::format("time={} level={} msg=", now_rfc3339(), kLevelNames[static_cast<int>(level)]);
  append_quoted(line, message);
  for (const Field& field : fields) {
    line += ' ';
    line += field.key;
    line += '=';
    if (plain(field.value)) {
      line += field.value;
    } else {
      append_quoted(line, field.value);
    }
  }
  return line += '\n';
}

std::string json_line(Level level, std::string_view message, Fields fields) {
  std::string line = fmt::format(R"({{"time":"{}","level":"{}","msg":)", now_rfc3339(),
                                 kLevelNames[static_cast<int>(level)]);
  append_quoted(line, message);
  for (const Field& field : fields) {
    line += ',';
    append_quoted(line, field.key);
    line += ':';
    if (field.bare) {
      line += field.value;
    } else {
      append_quoted(line, field.value);
    }
  }
  return line += "}\n";
}

}  // namespace

Result<Level> parse_level(std::string_view text) {
  for (size_t i = 0; i < std::size(kLevelNames); ++i)
    if (text == kLevelNames[i]) return static_cast<Level>(i);
  return fail(Code::kInvalidArgument, "log level \"{}\": use debug, info, warning or error", text);
}

void configure(const Options& options) {
  g_level = options.level;
  g_format = options.format;
  g_fd = options.fd;
}

bool enabled(Level level) { return level >= g_level.load(std::memory_order_relaxed); }

void write(Level level, std::string_view message, Fields fields) {
  if (!enabled(level)) return;
  std::string line = g_format == Format::kJson ? json_line(level, message, fields)
                                               : logfmt_line(level, message, fields);
  // A log that cannot be written has nowhere to say so.
  [[maybe_unused]] auto written = ::write(g_fd, line.data(), line.size());
}

}  // namespace skiff::log
