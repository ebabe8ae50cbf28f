// The TOML library (toml++), to be included in place of its own header, and by .cc files only: it
// costs seconds to compile. Made safe for files with faults, which fuzzing found 3.3 not to be:
//   - it asserts (with NDEBUG: assumes) that no key begins as in "[=" just before it checks for
//   that
//     and reports it, so its assertions are off, and NDEBUG with them;
//   - two of its tables of character ranges end in "unreachable" for characters that do reach it,
//   as
//     an "ä" outside a string does; there the answer is no.
#pragma once

#undef NDEBUG
#define TOML_ASSERT(condition) static_cast<void>(0)
#define TOML_HEADER_ONLY 1  // Debian's shared library throws
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0

#include <toml++/impl/forward_declarations.h>
#undef TOML_UNREACHABLE
#define TOML_UNREACHABLE return false
#include <toml++/impl/unicode.h>
#undef TOML_UNREACHABLE
#define TOML_UNREACHABLE __builtin_unreachable()
#include <toml++/toml.h>
