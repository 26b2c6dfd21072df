// What commands print: tables that line up, and a progress bar for long work.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"

namespace altlas::cli {

// Standard streams that the caller closed become /dev/null, so that no file opened later takes
// their numbers and gets what is printed. Call it first.
void open_standard_streams();
// Writes out what was printed. `code`, or where it can't be written (a full disk), says so on
// standard error and turns 0 into kExitFailed.
int end_output(int code);

// `text` fit for a terminal: control characters as '?', at most `characters_max` characters ("..."
// where it was cut).
std::string printable(std::string_view text, size_t characters_max = 200);

// Columns as wide as their widest cell (in characters, not bytes).
class Table {
 public:
  explicit Table(std::vector<std::string> header) { rows_.push_back(std::move(header)); }
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  // One line a row, each with its line break. Control characters in cells become '?'.
  std::string text() const;
  // To standard output.
  void print() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// "pull  weights ████░░░░  50 %  1 MiB / 2 MiB": at most `columns` - 1 characters, so that a
// terminal of so many does not break it. The bar gives way first.
std::string progress_line(std::string_view title, std::string_view stage, double part,
                          std::string_view amount, size_t columns);

// One line on standard error that is written over while work goes on; on a pipe, a line at every
// tenth.
class ProgressBar {
 public:
  explicit ProgressBar(std::string title);
  ~ProgressBar() { finish(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  void update(std::string_view stage, uint64_t done, uint64_t total);
  // The same without bytes: 0 … 1.
  void update_fraction(std::string_view stage, double part);
  // Ends the line, so that what is printed next, an error perhaps, stands on its own.
  void finish();

 private:
  void draw(std::string_view stage, double part, std::string_view amount);

  const std::string title_;
  const bool terminal_;
  TimeUs started_;
  TimeUs drawn_ = 0;
  int tenth_ = -1;
  std::string stage_;
};

}  // namespace altlas::cli
