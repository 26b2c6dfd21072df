// Programs that this one starts: what they are given, how they end. Arguments are a list and never
// go through a shell.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace altlas {

struct ChildOptions {
  std::vector<std::string> argv;  // argv[0] is what runs; without a '/' it is looked up in PATH.
  std::string program;            // Runs in place of argv[0] if it is not empty.
  // Names of variables that the child inherits beside kPlainVariables (child_environment.h).
  std::span<const std::string_view> inherited;
  std::vector<std::pair<std::string, std::string>> environment;  // In place of their namesakes.
  // Where the child runs; empty: where this process does. Python and others take code from there.
  std::string folder;
  // In a process group of its own, so that a terminal's Ctrl-C does not reach it.
  bool own_group = false;
};

// The child's standard input is empty, its standard output and error are the descriptor `output`;
// it inherits no other descriptor, and no signal is blocked or ignored. The caller waits for it.
// Any thread. Errors: kNotFound if there is no such program or folder, kIo.
Result<pid_t> start_child(const ChildOptions& options, int output);

// Blocks until the child ends. Its exit code, or 128 + signal number as shells say it.
int wait_child(pid_t pid);

// The most that is kept of a child's output; older bytes are dropped.
inline constexpr size_t kChildOutputBytesMax = 32 << 10;

struct ChildEnd {
  int exit_code = 0;   // As wait_child() gives it.
  std::string output;  // The end of what it wrote to standard output and error.

  bool ok() const { return exit_code == 0; }
  // The last line that is not blank.
  std::string last_line() const;
};

struct ChildWatch {
  // Called every tick_ms while the child runs; false ends it. May be empty.
  std::function<bool()> tick;
  int64_t tick_ms = 200;
  int64_t term_ms = 3'000;  // How long the child has from SIGTERM to SIGKILL.
};

// Blocks until the child ends and its output is closed. A program that fails is a value, not an
// error. Errors: as start_child(); kCanceled if tick said false.
Result<ChildEnd> run_child(const ChildOptions& options, const ChildWatch& watch = {});

}  // namespace altlas
