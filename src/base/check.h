// CHECK macros: a bug aborts with a message, in release too.
#pragma once

#include <string_view>

namespace altlas {
// Prints `file:line: check failed: expression: message` to standard error and aborts.
[[noreturn]] void check_failed(const char* file, int line, const char* expression,
                               std::string_view message);
}  // namespace altlas

// For bugs only; bad input is a Result.
#define ALTLAS_CHECK(cond, message)                               \
  do {                                                            \
    if (!(cond)) [[unlikely]]                                     \
      ::altlas::check_failed(__FILE__, __LINE__, #cond, message); \
  } while (false)

// For hot loops: compiled out where NDEBUG is set.
#ifdef NDEBUG
#define ALTLAS_DCHECK(cond, message) static_cast<void>(0)
#else
#define ALTLAS_DCHECK(cond, message) ALTLAS_CHECK(cond, message)
#endif
