#include "cli/terminal.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/units.h"
#include "base/utf8.h"
#include "cli/command.h"

namespace altlas::cli {
namespace {

size_t width_of(std::string_view text) { return count_code_points(text); }

size_t terminal_columns() {
  winsize size{};
  const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : 80;
}

// fmt::print() would throw where standard error can't be written.
void say(const std::string& text) { std::fputs(text.c_str(), stderr); }

}  // namespace

void open_standard_streams() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
      static_cast<void>(open("/dev/null", O_RDWR));  // The lowest free number is `fd`.
}

int end_output(int code) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
  say(fmt::format("altlas: standard output can't be written: {}\n", std::strerror(errno)));
  return code == kExitOk ? kExitFailed : code;
}

std::string printable(std::string_view text, size_t characters_max) {
  std::string out;
  size_t characters = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (!is_continuation_byte(text[i]) && ++characters > characters_max) return out + "...";
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

std::string progress_line(std::string_view title, std::string_view stage, double part,
                          std::string_view amount, size_t columns) {
  constexpr size_t kBarMax = 30, kBarMin = 4;
  const std::string before = fmt::format("{}  {:<7} ", title, stage);
  const std::string after = fmt::format("{:3.0f} %  {}", part * 100, amount);
  const size_t room = columns > 0 ? columns - 1 : 0, text = width_of(before) + width_of(after);
  const size_t width = room > text ? std::min(kBarMax, room - text - 1) : 0;
  std::string bar;
  if (width >= kBarMin)
    for (size_t i = 0; i < width; ++i)
      bar += i < static_cast<size_t>(part * static_cast<double>(width)) ? "█" : "░";
  std::string line = before + bar + (bar.empty() ? "" : " ") + after;
  // The limit counts characters, not bytes.
  size_t end = 0;
  for (size_t characters = 0; end < line.size(); ++end)
    if (!is_continuation_byte(line[end]) && ++characters > room) break;
  line.resize(end);
  return line;
}

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
    say(fmt::format("{}: {} {:3.0f} %  {}\n", title_, stage, part * 100, amount));
    return;
  }
  if (!new_stage && now - drawn_ < 100 * kMillisecond && part < 1) return;
  drawn_ = now;
  say("\r\033[K" + progress_line(title_, stage, part, amount, terminal_columns()));
}

void ProgressBar::finish() {
  if (terminal_ && !stage_.empty()) say("\n");
  stage_.clear();
}

}  // namespace altlas::cli
