#include "device/utilization.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <iterator>
#include <string>

namespace altlas::device {
namespace {
// Reads up to N numbers separated by spaces; the rest stay 0.
template <size_t N>
std::array<uint64_t, N> numbers(std::string_view text) {
  std::array<uint64_t, N> out{};
  for (uint64_t& value : out) {
    const size_t first = text.find_first_not_of(' ');
    if (first == std::string_view::npos) break;
    text.remove_prefix(first);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc()) break;
    text.remove_prefix(static_cast<size_t>(end - text.data()));
  }
  return out;
}

std::string read_text(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
}  // namespace

Load UtilizationSampler::sample(std::string_view proc_stat, uint64_t own_ticks) {
  if (!proc_stat.starts_with("cpu ")) return last_;
  // The fields are user nice system idle iowait irq softirq steal (proc(5)); guest time is part of
  // user.
  const auto n = numbers<8>(proc_stat.substr(4, proc_stat.find('\n') - 4));
  const uint64_t idle = n[3] + n[4];
  const uint64_t busy = n[0] + n[1] + n[2] + n[5] + n[6] + n[7];
  const uint64_t all = busy + idle;
  if (started_ && all > all_) {
    const double span = static_cast<double>(all - all_);
    const double total = busy > busy_ ? static_cast<double>(busy - busy_) : 0;
    const double own = own_ticks > own_ ? static_cast<double>(own_ticks - own_) : 0;
    last_ = {std::min(1.0, total / span), std::clamp((total - own) / span, 0.0, 1.0)};
  } else if (started_) {
    return last_;
  }
  started_ = true;
  busy_ = busy;
  all_ = all;
  own_ = own_ticks;
  return last_;
}

uint64_t process_ticks(std::string_view stat) {
  const size_t end = stat.rfind(')');  // The name in parentheses may hold anything, even spaces.
  if (end == std::string_view::npos || end + 2 > stat.size()) return 0;
  std::string_view rest = stat.substr(end + 1);
  for (int skip = 0; skip < 12; ++skip) {  // Skips state … cmajflt, fields 3 to 13.
    const size_t first = rest.find_first_not_of(' ');
    if (first == std::string_view::npos) return 0;
    rest.remove_prefix(first);
    if (skip == 11) break;
    rest.remove_prefix(std::min(rest.size(), rest.find(' ')));
  }
  const auto n = numbers<2>(rest);
  return n[0] + n[1];
}

Load sample_now(UtilizationSampler& sampler) {
  return sampler.sample(read_text("/proc/stat"), process_ticks(read_text("/proc/self/stat")));
}

}  // namespace altlas::device
