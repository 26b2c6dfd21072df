// Spread: how long things took, counted in buckets, and the percentiles of what was counted.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>

namespace altlas::control {

// Percentiles in seconds; NaN where nothing was counted.
struct Quantiles {
  float p50 = std::numeric_limits<float>::quiet_NaN();
  float p95 = std::numeric_limits<float>::quiet_NaN();
  float p99 = std::numeric_limits<float>::quiet_NaN();
  uint64_t count = 0;
};

// Buckets from 0.1 ms to two hours, each 12 % wider than the one before, so a percentile is at most
// that far from the exact one. Pure; of a fixed size.
class Spread {
 public:
  void add(double seconds, uint32_t times = 1) {
    counts_[bucket(seconds)] += times;
    count_ += times;
  }
  void add(const Spread& other) {
    for (size_t i = 0; i < kBuckets; ++i) counts_[i] += other.counts_[i];
    count_ += other.count_;
  }
  void clear() { *this = Spread(); }
  uint64_t count() const { return count_; }
  // The value below which a share `q` (0 to 1) lies.
  float percentile(double q) const {
    if (count_ == 0) return std::numeric_limits<float>::quiet_NaN();
    const double wanted = q * static_cast<double>(count_);
    double below = 0;
    for (size_t i = 0; i < kBuckets; ++i) {
      const auto here = static_cast<double>(counts_[i]);
      if (here > 0 && below + here >= wanted) {
        const double part = std::clamp((wanted - below) / here, 0.0, 1.0);
        return static_cast<float>(edge(i) + (edge(i + 1) - edge(i)) * part);
      }
      below += here;
    }
    return static_cast<float>(edge(kBuckets));
  }
  Quantiles quantiles() const {
    return {percentile(0.5), percentile(0.95), percentile(0.99), count_};
  }

 private:
  static constexpr size_t kBuckets = 160;
  static constexpr double kFirst = 1e-4, kRatio = 1.12;
  // The lower edge of bucket `i`.
  static double edge(size_t i) {
    return i == 0 ? 0 : kFirst * std::pow(kRatio, static_cast<double>(i - 1));
  }
  static size_t bucket(double seconds) {
    if (!(seconds > kFirst)) return 0;
    const double place = std::log(seconds / kFirst) / std::log(kRatio);
    return std::min(static_cast<size_t>(place) + 1, kBuckets - 1);
  }
  std::array<uint32_t, kBuckets> counts_{};
  uint64_t count_ = 0;
};

}  // namespace altlas::control
