#include "bin/skiff/output.h"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <string>

#include <unistd.h>

#include "bin/skiff/commands.h"
#include "bin/skiff/text.h"
#include "sys/file.h"

namespace skiff::cli {

void print(std::string_view text) {
  Status written = sys::write_fd(STDOUT_FILENO, as_bytes(text));
  if (written) return;
  if (written.error().sys_errno() == EPIPE) _exit(128 + SIGPIPE);
  complain(written.error().wrap("write to stdout").message());
  _exit(kFailure);
}

void print_line(std::string_view text) { print(std::string(text) + "\n"); }

void print_json(const json::Value& value) { print_line(json::dump(value, 2)); }

void complain(std::string_view text) {
  static_cast<void>(sys::write_fd(STDERR_FILENO, as_bytes("skiff: " + printable(text) + "\n")));
}

}  // namespace skiff::cli
