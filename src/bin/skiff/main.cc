// skiff, the command line: translates a verb into calls of skiff.v1 and shows what comes back.
#include <csignal>

#include <unistd.h>

#include "base/log.h"
#include "bin/skiff/args.h"
#include "bin/skiff/commands.h"
#include "bin/skiff/output.h"
#include "sys/file.h"

int main(int argc, char** argv) {
  using namespace skiff;
  // A reader that goes away is an error of the write, told by print().
  std::signal(SIGPIPE, SIG_IGN);
  cli::ParsedArgs parsed = cli::parse_args(argc, argv);
  if (!parsed.invocation) {
    bool usage_error = parsed.status != 0;
    static_cast<void>(
        sys::write_fd(usage_error ? STDERR_FILENO : STDOUT_FILENO, as_bytes(parsed.text)));
    return parsed.status;
  }
  const cli::Invocation& invocation = *parsed.invocation;
  log::Options logging;
  logging.level = invocation.global.debug ? log::Level::kDebug : log::Level::kError;
  log::configure(logging);
  auto status = invocation.command(invocation.global);
  if (status) return *status;
  std::string text = status.error().message();
  if (invocation.global.debug) text += fmt::format(" [{}]", code_name(status.error().code()));
  cli::complain(text);
  return invocation.failure_status;
}
