// One function a verb. Each yields the exit status, or the error that main prints (status 1; 125
// for `run`).
#pragma once

#include "base/error.h"
#include "bin/skiff/options.h"

namespace skiff::cli {

inline constexpr int kFailure = 1;
inline constexpr int kUsage = 2;
inline constexpr int kRunFailure = 125;

Result<int> pull(const Global& global, const PullOptions& options);
Result<int> push(const Global& global, const PushOptions& options);
Result<int> images(const Global& global, const ImagesOptions& options);
Result<int> inspect(const Global& global, const InspectOptions& options);
Result<int> tag(const Global& global, const TagOptions& options);
Result<int> remove_images(const Global& global, const RemoveOptions& options);
Result<int> save(const Global& global, const SaveOptions& options);
Result<int> load(const Global& global, const LoadOptions& options);
Result<int> login(const Global& global, const LoginOptions& options);
Result<int> logout(const Global& global, const LogoutOptions& options);
Result<int> run(const Global& global, const RunOptions& options);
Result<int> list_containers(const Global& global, const PsOptions& options);
Result<int> remove_containers(const Global& global, const RemoveContainersOptions& options);
Result<int> leases(const Global& global, const LeasesOptions& options);
Result<int> collect_garbage(const Global& global);
Result<int> disk_usage(const Global& global);
Result<int> check_store(const Global& global, const FsckOptions& options);
Result<int> info(const Global& global);
Result<int> version(const Global& global, const VersionOptions& options);

}  // namespace skiff::cli
