#include "bin/skiff/terminal.h"

#include <cerrno>
#include <cstdlib>
#include <string_view>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "sys/file.h"

namespace skiff::cli {
namespace {

constexpr char kInterrupt = 3;  // Ctrl-C

}  // namespace

bool is_terminal(int fd) { return isatty(fd) == 1; }

bool can_redraw(int fd) {
  const char* term = std::getenv("TERM");
  return is_terminal(fd) && term && *term && std::string_view(term) != "dumb";
}

ScreenSize screen_size(int fd) {
  ScreenSize out;
  winsize size{};
  if (ioctl(fd, TIOCGWINSZ, &size) == 0) {
    if (size.ws_col > 0) out.columns = size.ws_col;
    if (size.ws_row > 0) out.rows = size.ws_row;
  }
  return out;
}

Result<std::unique_ptr<RawMode>> RawMode::enter(int fd) {
  termios before{};
  if (tcgetattr(fd, &before) != 0) return fail_errno(errno, "read the terminal's settings");
  termios raw = before;
  cfmakeraw(&raw);
  if (tcsetattr(fd, TCSADRAIN, &raw) != 0) return fail_errno(errno, "set the terminal to raw mode");
  return std::unique_ptr<RawMode>(new RawMode(fd, before));
}

RawMode::~RawMode() { tcsetattr(fd_, TCSADRAIN, &before_); }

Result<std::string> ask(const std::string& prompt, bool echo) {
  // The terminal itself, since stdin and stdout may be redirected.
  sys::UniqueFd tty = SKIFF_TRY(sys::open_file("/dev/tty", O_RDWR));
  SKIFF_TRY(sys::write_fd(tty.get(), as_bytes(prompt)));
  termios before{};
  if (tcgetattr(tty.get(), &before) != 0) return fail_errno(errno, "read the terminal's settings");
  termios quiet = before;
  // No signals either, or an interrupted question would leave the terminal without its echo.
  quiet.c_lflag &= ~static_cast<tcflag_t>(ISIG | (echo ? 0 : ECHO));
  tcsetattr(tty.get(), TCSAFLUSH, &quiet);
  std::string line;
  char c = 0;
  while (line.size() < 4096) {
    ssize_t n = ::read(tty.get(), &c, 1);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0 || c == '\n' || c == kInterrupt) break;
    line += c;
  }
  tcsetattr(tty.get(), TCSAFLUSH, &before);
  if (!echo || c == kInterrupt) SKIFF_TRY(sys::write_fd(tty.get(), as_bytes("\n")));
  if (c == kInterrupt) return fail(Code::kCanceled, "interrupted");
  return line;
}

}  // namespace skiff::cli
