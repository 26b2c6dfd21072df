#include "ops/sample/weighted.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "ops/sample/row_sampler.h"
#include "ops/sample/scan.h"

namespace altlas::ops {
namespace {

using Thresholds = std::array<float, kThresholds>;
// Of 1, by quarters of an octave.
constexpr Thresholds kQuarters = {0.84089642f, 0.70710678f, 0.59460356f, 0.5f,
                                  0.42044821f, 0.35355339f, 0.29730178f, 0.25f};

// Weights from `least` on and below `limit`, and the weight of those from `limit` on.
struct Band {
  float least = 0, limit = std::numeric_limits<float>::infinity();
  double above = 0;
};

// The part of `band` in which the heaviest tokens reach `wanted`, by descending thresholds in it.
// True if it is one of those; otherwise it is what lies below them.
bool narrow(const WeightedTokens& tokens, const Thresholds& thresholds, double wanted, Band& band) {
  std::array<float, kThresholds> sums;
  scan_sums_from(tokens.weights, tokens.count, thresholds.data(), sums.data());
  for (size_t i = 0; i < kThresholds; ++i) {
    if (sums[i] >= wanted) {
      band.least = thresholds[i];
      return true;
    }
    band.limit = thresholds[i];
    band.above = sums[i];
  }
  return false;
}

struct Token {
  float weight;
  int32_t id;
};

}  // namespace

double WeightedTokens::total() const {
  double sum = 0;
  for (size_t i = 0; i < count; i += kSampleRun)
    sum += scan_sum(weights + i, std::min(kSampleRun, count - i));
  return sum;
}

void WeightedTokens::keep_from(float least) {
  count = scan_filter(weights, ids, count, least, weights, ids);
}

void WeightedTokens::keep_heaviest(double wanted) {
  // First by whole octaves, which leaves few; then a narrow band of those is looked at one by one.
  Thresholds thresholds;
  for (size_t i = 0; i < kThresholds; ++i) thresholds[i] = std::ldexp(1.0f, -2 * int(i + 1));
  Band band;
  const bool found = narrow(*this, thresholds, wanted, band);
  if (found) keep_from(band.least);
  const float from = std::min(1.0f, band.limit);
  for (size_t i = 0; i < kThresholds; ++i)
    thresholds[i] = found ? from * kQuarters[i] : std::ldexp(from, -int(i + 1));
  const float least = band.least;
  if (!narrow(*this, thresholds, wanted, band)) band.least = least;
  thread_local std::vector<Token> inside;  // Kept for its memory: a step does not allocate.
  inside.clear();
  for (size_t i = 0; i < count; ++i)
    if (weights[i] >= band.least && weights[i] < band.limit) inside.push_back({weights[i], ids[i]});
  std::ranges::sort(inside, [](const Token& a, const Token& b) {
    return a.weight != b.weight ? a.weight > b.weight : a.id < b.id;
  });
  size_t last = 0;
  for (double sum = band.above; last < inside.size(); ++last)
    if ((sum += inside[last].weight) >= wanted) break;
  if (last >= inside.size()) return keep_from(band.least);
  const Token end = inside[last];
  keep_from(end.weight);
  if (last + 1 == inside.size() || inside[last + 1].weight != end.weight) return;
  size_t kept = 0;
  for (size_t i = 0; i < count; ++i) {
    if (weights[i] == end.weight && ids[i] > end.id) continue;
    weights[kept] = weights[i];
    ids[kept++] = ids[i];
  }
  count = kept;
}

int32_t WeightedTokens::draw(float uniform, int32_t otherwise) const {
  double left = uniform * total();
  int32_t last = otherwise;
  for (size_t i = 0; i < count; i += kSampleRun) {
    const size_t run = std::min(kSampleRun, count - i);
    const double weight = scan_sum(weights + i, run);
    if (weight > 0 && left >= weight) last = ids[i + run - 1];
    if (left >= weight) {
      left -= weight;
      continue;
    }
    for (size_t k = i; k < i + run; ++k) {
      last = ids[k];
      if ((left -= weights[k]) < 0) break;
    }
    return last;
  }
  return last;  // Rounding at the very end.
}

}  // namespace altlas::ops
