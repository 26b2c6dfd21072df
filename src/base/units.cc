#include "base/units.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <vector>

namespace altlas {

Result<uint64_t> parse_bytes(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  while (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);
  static constexpr struct { std::string_view name; double factor; } kUnits[] = {
      {"", 1},          {"B", 1},
      {"K", 0x1p10},    {"M", 0x1p20},   {"G", 0x1p30},   {"T", 0x1p40},
      {"KiB", 0x1p10},  {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40},
      {"KB", 1e3},      {"MB", 1e6},     {"GB", 1e9},     {"TB", 1e12}};
  const auto* found = std::ranges::find(kUnits, unit, [](const auto& u) { return u.name; });
  if (error != std::errc() || found == std::end(kUnits) || !std::isfinite(value) || value < 0 ||
      value * found->factor >= 0x1p63) {
    return invalid("'" + std::string(text) + "' is not a size: write bytes, or a number with KiB, MiB, GiB, TiB (or KB … TB), as in 4GiB");
  }
  return static_cast<uint64_t>(value * found->factor);
}

std::string format_bytes(uint64_t bytes) {
  char text[32];
  if (bytes < kKiB) {
    std::snprintf(text, sizeof text, "%llu B", static_cast<unsigned long long>(bytes));
  } else {
    const char* units[] = {"KiB", "MiB", "GiB", "TiB"};
    double value = static_cast<double>(bytes) / 1024;
    int unit = 0;
    while (value >= 1024 && unit < 3) value /= 1024, ++unit;
    std::snprintf(text, sizeof text, "%.2f %s", value, units[unit]);
  }
  return text;
}

std::string_view did_you_mean(std::string_view name, const std::string_view* names, size_t count) {
  std::string_view best;
  size_t best_distance = std::max<size_t>(1, name.size() / 3) + 1;
  std::vector<size_t> row;
  for (size_t n = 0; n < count; ++n) {
    const std::string_view other = names[n];
    row.resize(other.size() + 1);
    for (size_t j = 0; j <= other.size(); ++j) row[j] = j;
    for (size_t i = 1; i <= name.size(); ++i) {
      size_t diagonal = row[0];
      row[0] = i;
      for (size_t j = 1; j <= other.size(); ++j) {
        const size_t above = row[j];
        row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (name[i - 1] != other[j - 1])});
        diagonal = above;
      }
    }
    if (row[other.size()] < best_distance) {
      best_distance = row[other.size()];
      best = other;
    }
  }
  return best;
}

}  // namespace altlas
