#include "cli/terminal.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "base/units.h"

namespace altlas::cli {
namespace {

size_t width_of(std::string_view text) {
  return static_cast<size_t>(std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

}  // namespace

void Table::print() const {
  std::vector<size_t> widths;
  for (const auto& row : rows_)
    for (size_t i = 0; i < row.size(); ++i) {
      if (widths.size() <= i) widths.push_back(0);
      widths[i] = std::max(widths[i], width_of(row[i]));
    }
  for (const auto& row : rows_) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line += std::string(widths[i] - width_of(row[i]) + 2, ' ');
    }
    fmt::print("{}\n", line);
  }
}

ProgressBar::ProgressBar(std::string title)
    : title_(std::move(title)), terminal_(isatty(STDERR_FILENO) != 0), started_(system_clock().now()) {}

void ProgressBar::update(std::string_view stage, uint64_t done, uint64_t total) {
  const TimeUs now = system_clock().now();
  const double part = total == 0 ? 0 : std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
  const bool new_stage = stage != stage_;
  stage_ = stage;
  const double seconds = static_cast<double>(now - started_) / static_cast<double>(kSecond);
  const double rate = seconds > 0 ? static_cast<double>(done) / seconds : 0;
  const std::string amount = fmt::format("{} / {}  {}/s", format_bytes(done), format_bytes(total), format_bytes(static_cast<uint64_t>(rate)));
  if (!terminal_) {
    const int tenth = static_cast<int>(part * 10);
    if (tenth == tenth_ && !new_stage) return;
    tenth_ = tenth;
    fmt::print(stderr, "{}: {} {:3.0f} %  {}\n", title_, stage, part * 100, amount);
    return;
  }
  if (!new_stage && now - drawn_ < 100 * kMillisecond && part < 1) return;
  drawn_ = now;
  constexpr int kWidth = 30;
  std::string bar;
  for (int i = 0; i < kWidth; ++i) bar += i < static_cast<int>(part * kWidth) ? "█" : "░";
  fmt::print(stderr, "\r\033[K{}  {:<7} {} {:3.0f} %  {}", title_, stage, bar, part * 100, amount);
}

void ProgressBar::finish() {
  if (terminal_ && !stage_.empty()) fmt::print(stderr, "\n");
}

}  // namespace altlas::cli
