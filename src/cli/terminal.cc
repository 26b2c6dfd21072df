#include "cli/terminal.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "base/units.h"

namespace altlas::cli {
namespace {

size_t width_of(std::string_view text) {
  return static_cast<size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

}  // namespace

std::string printable(std::string_view text, size_t characters_max) {
  std::string out;
  size_t characters = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if ((c & 0xC0) != 0x80 && ++characters > characters_max) return out + "...";
    // C1 control characters (U+0080 to U+009F) steer terminals, too.
    const bool c1 =
        c == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0;
    if (c1) ++i;
    out += c < 0x20 || c == 0x7F || c1 ? '?' : text[i];
  }
  return out;
}

std::string Table::text() const {
  std::vector<std::vector<std::string>> rows = rows_;
  std::vector<size_t> widths;
  for (auto& row : rows)
    for (size_t i = 0; i < row.size(); ++i) {
      row[i] = printable(row[i]);
      if (widths.size() <= i) widths.push_back(0);
      widths[i] = std::max(widths[i], width_of(row[i]));
    }
  std::string out;
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      out += row[i];
      if (i + 1 < row.size()) out += std::string(widths[i] - width_of(row[i]) + 2, ' ');
    }
    out += '\n';
  }
  return out;
}

void Table::print() const { fmt::print("{}", text()); }

ProgressBar::ProgressBar(std::string title)
    : title_(std::move(title)),
      terminal_(isatty(STDERR_FILENO) != 0),
      started_(system_clock().now()) {}

void ProgressBar::update(std::string_view stage, uint64_t done, uint64_t total) {
  const double part =
      total == 0 ? 0 : std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
  const double seconds =
      static_cast<double>(system_clock().now() - started_) / static_cast<double>(kSecond);
  const double rate = seconds > 0 ? static_cast<double>(done) / seconds : 0;
  draw(stage, part,
       fmt::format("{} / {}  {}/s", format_bytes(done), format_bytes(total),
                   format_bytes(static_cast<uint64_t>(rate))));
}

void ProgressBar::update_fraction(std::string_view stage, double part) {
  draw(stage, std::clamp(part, 0.0, 1.0), "");
}

void ProgressBar::draw(std::string_view stage, double part, std::string_view amount) {
  const TimeUs now = system_clock().now();
  const bool new_stage = stage != stage_;
  stage_ = stage;
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
