#include "base/error.h"

#include <cerrno>
#include <cstring>

namespace skiff {
namespace {

Code code_of_errno(int sys_errno) {
  switch (sys_errno) {
    case ENOENT:
    case ESRCH: return Code::kNotFound;
    case EEXIST: return Code::kAlreadyExists;
    case EACCES:
    case EPERM:
    case EROFS: return Code::kPermissionDenied;
    case EINVAL:
    case ENAMETOOLONG:
    case ELOOP:
    case ENOTDIR:
    case EISDIR: return Code::kInvalidArgument;
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EFBIG: return Code::kResourceExhausted;
    case ETIMEDOUT: return Code::kDeadlineExceeded;
    case EINTR:
    case ECANCELED: return Code::kCanceled;
    case EBUSY:
    case ENOTEMPTY: return Code::kFailedPrecondition;
    case ENOSYS:
    case EOPNOTSUPP: return Code::kUnimplemented;
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EAGAIN: return Code::kUnavailable;
    case EIO: return Code::kDataLoss;
    default: return Code::kUnknown;
  }
}

}  // namespace

std::string_view code_name(Code code) {
  static constexpr std::string_view kNames[] = {"ok",
                                                "canceled",
                                                "unknown",
                                                "invalid argument",
                                                "deadline exceeded",
                                                "not found",
                                                "already exists",
                                                "permission denied",
                                                "resource exhausted",
                                                "failed precondition",
                                                "aborted",
                                                "out of range",
                                                "unimplemented",
                                                "internal",
                                                "unavailable",
                                                "data loss",
                                                "unauthenticated"};
  auto index = static_cast<size_t>(code);
  return index < std::size(kNames) ? kNames[index] : "unknown";
}

Error Error::wrap(std::string_view context) const& { return Error(*this).wrap(context); }

Error Error::wrap(std::string_view context) && {
  message_.insert(0, fmt::format("{}: ", context));
  return std::move(*this);
}

Error Error::with_code(Code code) && {
  code_ = code;
  return std::move(*this);
}

Error errno_error(int sys_errno, std::string_view what) {
  char buffer[128];
  const char* text = strerror_r(sys_errno, buffer, sizeof buffer);
  return Error(code_of_errno(sys_errno), fmt::format("{}: {}", what, text), sys_errno);
}

}  // namespace skiff
