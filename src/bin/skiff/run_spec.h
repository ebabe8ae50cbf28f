// From `skiff run`'s options to the container that is asked for.
#pragma once

#include <string>
#include <string_view>

#include "bin/skiff/options.h"
#include "serve/native/api.h"

namespace skiff::cli {

// Reads environment files and, for variables given by name alone, this process's environment. The
// id is new. InvalidArgument names the option and says how it is written.
Result<native::ContainerSpec> container_spec(const RunOptions& options);

// "/host:/target[:ro,...]": a bind mount; a relative host path is below the current folder.
Result<native::Mount> parse_volume(std::string_view text);
// "/target[:size=64m,...]"
Result<native::Mount> parse_tmpfs(std::string_view text);
// Lines of KEY=VALUE, or KEY for this process's own value; empty lines and # lines do not count.
Result<std::vector<std::string>> parse_env_file(const std::string& name, std::string_view text);

}  // namespace skiff::cli
