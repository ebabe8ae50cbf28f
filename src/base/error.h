// The one error type. Every fallible function returns Result<T> (or Status, which is Result<void>);
// no exception crosses a folder.
//
// The codes are gRPC's sixteen, with gRPC's numbers, so that each boundary (gRPC, ttrpc, HTTP, exit
// status) maps them once. The message names what failed and on what, and says what to do where that
// is not plain; callers add context from the inside out with `wrap`.
#pragma once

#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/core.h>

namespace skiff {

enum class Code {
  kOk = 0,
  kCanceled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

// The code's name as users of gRPC know it, in lower case: "not found", "already exists".
std::string_view code_name(Code code);

class Error {
 public:
  Error(Code code, std::string message, int sys_errno = 0)
      : code_(code), errno_(sys_errno), message_(std::move(message)) {}

  Code code() const { return code_; }
  // The errno that caused this, or 0.
  int sys_errno() const { return errno_; }
  // The whole text, outermost context first: "pull redis:7: fetch sha256:ab..: connection reset".
  const std::string& message() const { return message_; }

  // The same error with one more line of context in front.
  Error wrap(std::string_view context) const&;
  Error wrap(std::string_view context) &&;
  // The same error under another code (a lower layer's "not found" may be a caller's "data loss").
  Error with_code(Code code) &&;

  bool is(Code code) const { return code_ == code; }

 private:
  Code code_;
  int errno_;
  std::string message_;
};

template <typename T>
using Result = std::expected<T, Error>;
using Status = Result<void>;

// An error of the given code; the message is formatted with fmt.
template <typename... Args>
std::unexpected<Error> fail(Code code, fmt::format_string<Args...> format, Args&&... args) {
  return std::unexpected(Error(code, fmt::format(format, std::forward<Args>(args)...)));
}

// An error made from errno (read at once): its code follows from the number (ENOENT -> not found,
// ENOSPC -> resource exhausted, ...) and the text of errno ends the message.
Error errno_error(int sys_errno, std::string_view what);

template <typename... Args>
std::unexpected<Error> fail_errno(int sys_errno, fmt::format_string<Args...> format,
                                  Args&&... args) {
  return std::unexpected(errno_error(sys_errno, fmt::format(format, std::forward<Args>(args)...)));
}

inline Status ok() { return {}; }

}  // namespace skiff

// Evaluates a Result; on an error returns it from the enclosing function, else yields the value:
//   auto size = SKIFF_TRY(file.size());
#define SKIFF_TRY(...)                                                                  \
  ({                                                                                    \
    auto skiff_try_result = (__VA_ARGS__);                                              \
    if (!skiff_try_result) return std::unexpected(std::move(skiff_try_result).error()); \
    *std::move(skiff_try_result);                                                       \
  })

// The same, adding a line of context (a fmt format and its arguments) to the error.
#define SKIFF_TRY_WRAP(expr, ...)                                                                 \
  ({                                                                                              \
    auto skiff_try_result = (expr);                                                               \
    if (!skiff_try_result)                                                                        \
      return std::unexpected(std::move(skiff_try_result).error().wrap(fmt::format(__VA_ARGS__))); \
    *std::move(skiff_try_result);                                                                 \
  })
