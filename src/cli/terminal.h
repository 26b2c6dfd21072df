// What commands print: tables that line up, and a progress bar for long work.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"

namespace altlas::cli {

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

// One line on standard error that is written over while work goes on; on a pipe, a line at every
// tenth.
class ProgressBar {
 public:
  explicit ProgressBar(std::string title);
  void update(std::string_view stage, uint64_t done, uint64_t total);
  // The same without bytes: 0 … 1.
  void update_fraction(std::string_view stage, double part);
  // Ends the line.
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
