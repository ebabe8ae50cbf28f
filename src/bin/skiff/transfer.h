// One pull with its progress, for `pull` and `run`.
#pragma once

#include "bin/skiff/daemon.h"
#include "bin/skiff/progress_view.h"
#include "serve/native/api.h"

namespace skiff::cli {

Result<native::PullResult> pull_image(const Daemon& daemon, const native::PullRequest& request,
                                      ProgressView& view, size_t item);

// "redis:7: 71.4 MB fetched, 6 layers (2 were here) in 1.24 s, sha256:0123456789ab"
std::string describe(const std::string& reference, const native::PullResult& result,
                     std::chrono::nanoseconds took);

}  // namespace skiff::cli
