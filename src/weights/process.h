// Runs a helper program (pip, python) to its end: arguments as a list, never through a shell.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace altlas::weights {

inline constexpr size_t kProcessOutputBytesMax = 16 << 10;

struct ProcessSpec {
  std::vector<std::string> argv;  // argv[0] is looked up in PATH unless it holds a '/'.
  // Set for the child beside the few variables that it inherits: where programs and homes are, the
  // language, and how packages are reached (pip's settings, proxies, certificates).
  std::vector<std::pair<std::string, std::string>> environment;
  // Where the child runs; empty: where this process does. Python and others take code from there.
  std::string folder;
  // Called a few times a second while it runs; false ends it. May be empty.
  std::function<bool()> tick;
};

struct ProcessEnd {
  int exit_code = 0;   // 128 + signal number if a signal ended it, as shells say it.
  std::string output;  // The end of what it wrote to standard output and error.

  bool ok() const { return exit_code == 0; }
  // The last line that is not empty.
  std::string last_line() const;
};

// Blocks until the program ends; its standard input is empty. A program that fails is a value, not
// an error. Errors: kNotFound if there is no such program, kCanceled if tick said false, kIo.
Result<ProcessEnd> run_process(const ProcessSpec& spec);

}  // namespace altlas::weights
