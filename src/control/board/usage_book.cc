#include "control/board/usage_book.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace altlas::control {
namespace {

constexpr int64_t kHourUs = 3600 * kSecond;
constexpr std::string_view kTitle = "altlas usage 1 ";

// Reads the next word of a line as a number, and takes it and the blank after it off.
template <class Number>
bool take(std::string_view& line, Number& out) {
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), out);
  const auto used = static_cast<size_t>(end - line.data());
  if (error != std::errc() || used >= line.size() || line[used] != ' ') return false;
  line.remove_prefix(used + 1);
  return true;
}

}  // namespace

void Usage::add(const Usage& other) {
  completed += other.completed;
  failed += other.failed;
  canceled += other.canceled;
  prompt_tokens += other.prompt_tokens;
  generated_tokens += other.generated_tokens;
  device_seconds += other.device_seconds;
  cost_usd += other.cost_usd;
  unpriced_seconds += other.unpriced_seconds;
}

Usage& UsageBook::at(const std::string& owner, TimeUs now) {
  begin(now);
  const int64_t hour = now / kHourUs;
  if (hour > newest_) forget(hour);
  const bool fits = hours_.contains(owner) || hours_.size() < kOwnersMax;
  return hours_[fits ? owner : std::string(kOtherOwners)][hour];
}

// Drops what is older than the book goes back from `hour` on.
void UsageBook::forget(int64_t hour) {
  newest_ = hour;
  for (auto& [owner, hours] : hours_)
    hours.erase(hours.begin(), hours.upper_bound(hour - kHoursMax));
  std::erase_if(hours_, [](const auto& one) { return one.second.empty(); });
}

std::vector<KeyUsage> UsageBook::last(int64_t hours, TimeUs now) const {
  const int64_t first = now / kHourUs - std::clamp<int64_t>(hours, 1, kHoursMax) + 1;
  std::vector<KeyUsage> out;
  for (const auto& [owner, booked] : hours_) {
    KeyUsage one{owner, {}, {}};
    for (auto it = booked.lower_bound(first); it != booked.end(); ++it) {
      one.total.add(it->second);
      one.hours.push_back({it->first * kHourUs, it->second});
    }
    if (!one.hours.empty()) out.push_back(std::move(one));
  }
  const auto tokens = [](const KeyUsage& one) {
    return one.total.prompt_tokens + one.total.generated_tokens;
  };
  std::ranges::stable_sort(out, std::ranges::greater(), tokens);
  return out;
}

std::string UsageBook::save() const {
  std::string out = fmt::format("{}{}\n", kTitle, since_);
  for (const auto& [owner, hours] : hours_) {
    std::string name = owner;
    std::ranges::replace(name, '\n', ' ');
    for (const auto& [hour, one] : hours)
      out += fmt::format("{} {} {} {} {} {} {} {} {} {}\n", hour, one.completed, one.failed,
                         one.canceled, one.prompt_tokens, one.generated_tokens, one.device_seconds,
                         one.cost_usd, one.unpriced_seconds, name);
  }
  return out;
}

Result<void> UsageBook::load(std::string_view text) {
  *this = UsageBook();
  UsageBook read;
  const auto broken = [] { return invalid("the kept usage of keys can't be read"); };
  if (!text.starts_with(kTitle)) return broken();
  text.remove_prefix(kTitle.size());
  for (bool title = true; !text.empty(); title = false) {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) return broken();
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 1);
    if (title) {
      const auto [rest, error] =
          std::from_chars(line.data(), line.data() + line.size(), read.since_);
      if (error != std::errc() || rest != line.data() + line.size()) return broken();
      continue;
    }
    int64_t hour = 0;
    Usage one;
    if (!take(line, hour) || !take(line, one.completed) || !take(line, one.failed) ||
        !take(line, one.canceled) || !take(line, one.prompt_tokens) ||
        !take(line, one.generated_tokens) || !take(line, one.device_seconds) ||
        !take(line, one.cost_usd) || !take(line, one.unpriced_seconds))
      return broken();
    read.hours_[std::string(line)][hour] = one;
    read.newest_ = std::max(read.newest_, hour);
  }
  *this = std::move(read);
  return {};
}

}  // namespace altlas::control
