#include "bin/skiffd/instance_lock.h"

#include <cerrno>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

namespace skiff::daemon {

Result<sys::UniqueFd> lock_folder(const sys::Path& folder) {
  sys::UniqueFd file = SKIFF_TRY(sys::open_file(folder / "lock", O_RDWR | O_CREAT, 0600));
  if (flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail_errno(errno, "lock {}", (folder / "lock").string());
    std::string holder = sys::read_fd(file.get(), 64).value_or("");
    holder.resize(std::min(holder.find('\n'), holder.size()));
    return fail(Code::kFailedPrecondition,
                "{} is in use by another skiffd{}{}; stop it, or give this one a folder of its own",
                folder.string(), holder.empty() ? "" : ", pid ", holder);
  }
  // The pid is for people and the message above; the lock alone decides.
  if (ftruncate(file.get(), 0) != 0) return fail_errno(errno, "truncate {}/lock", folder.string());
  SKIFF_TRY(sys::pwrite_fd(file.get(), as_bytes(fmt::format("{}\n", getpid())), 0));
  return file;
}

}  // namespace skiff::daemon
