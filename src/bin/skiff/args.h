// The command line. args.cc alone knows the parser.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/error.h"
#include "bin/skiff/options.h"

namespace skiff::cli {

struct Invocation {
  Global global;
  std::function<Result<int>(const Global&)> command;
  int failure_status = 1;  // when the command fails with an error
};

struct ParsedArgs {
  std::optional<Invocation> invocation;  // unset: print `text` and exit with `status`
  int status = 0;
  std::string text;
};

// Never prints or exits.
ParsedArgs parse_args(int argc, const char* const* argv);

}  // namespace skiff::cli
