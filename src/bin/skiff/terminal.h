// The terminal that the CLI was started on.
#pragma once

#include <termios.h>

#include <memory>
#include <string>

#include "base/error.h"
#include "bin/skiff/progress_view.h"

namespace skiff::cli {

bool is_terminal(int fd);
// A terminal that understands cursor movement (not TERM=dumb).
bool can_redraw(int fd);
// 80 x 24 where nothing is known.
ScreenSize screen_size(int fd);

// Passes every key on as it is, until it is destroyed.
class RawMode {
 public:
  static Result<std::unique_ptr<RawMode>> enter(int fd);
  ~RawMode();
  RawMode(const RawMode&) = delete;

 private:
  RawMode(int fd, const termios& before) : fd_(fd), before_(before) {}
  int fd_;
  termios before_;
};

// A line from the terminal with the prompt before it; without echo for a password.
Result<std::string> ask(const std::string& prompt, bool echo);

}  // namespace skiff::cli
