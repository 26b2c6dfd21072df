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

constexpr size_t kSortedMax = 256;  // With more tokens than this, a narrower band is searched.
constexpr int kLooksMax = 6;

using Thresholds = std::array<float, kThresholds>;
// The weights from `least` on and below `limit`, and the total weight of those above.
struct Band {
  float least = 0, limit = std::numeric_limits<float>::infinity();
  double above = 0;
};

// Narrows `band` to the part in which the total weight from the heaviest token down reaches
// `wanted`, by descending thresholds in the band. Returns true if it reaches it at a threshold;
// otherwise the band becomes what lies below all of them.
bool narrow(const WeightedTokens& tokens, const Thresholds& thresholds, double wanted, Band& band) {
  std::array<float, kThresholds> sums;
  scan_sums_from(tokens.weights, tokens.count, thresholds.data(), sums.data());
  const double above = band.above;
  for (size_t i = 0; i < kThresholds; ++i) {
    if (above + sums[i] >= wanted) {
      band.least = thresholds[i];
      return true;
    }
    band.limit = thresholds[i];
    band.above = above + sums[i];
  }
  return false;
}

struct Token {
  float weight;
  int32_t id;
};

// This thread's lists. They keep their memory, so a step does not allocate.
struct Lists {
  std::vector<float> weights;
  std::vector<int32_t> ids;
  std::vector<Token> sorted;
};
thread_local Lists lists;

// Returns the band's tokens as a list of their own, after passes over all tokens that narrow the
// band to a few.
WeightedTokens inside(const WeightedTokens& tokens, double wanted, Band& band) {
  const size_t most = std::max(tokens.count, tokens.most) + kScanPadding;
  lists.weights.reserve(most);
  lists.ids.reserve(most);
  lists.sorted.reserve(most);
  lists.weights.resize(std::max(lists.weights.size(), tokens.count + kScanPadding));
  lists.ids.resize(std::max(lists.ids.size(), tokens.count + kScanPadding));
  WeightedTokens out{lists.weights.data(), lists.ids.data(), 0};
  out.count = scan_between({tokens.weights, tokens.count}, tokens.ids, band.least, band.limit,
                           {out.weights, out.ids});
  for (int looks = 0; looks < kLooksMax && out.count > kSortedMax; ++looks) {
    Thresholds thresholds;
    const float least = band.least, limit = std::min(1.0f, band.limit);
    for (size_t i = 0; i < kThresholds; ++i)
      thresholds[i] = limit - (limit - least) * (static_cast<float>(i + 1) / kThresholds);
    if (!narrow(out, thresholds, wanted, band)) band.least = least;
    out.count = scan_between({out.weights, out.count}, out.ids, band.least, band.limit,
                             {out.weights, out.ids});
  }
  return out;
}

}  // namespace

double WeightedTokens::total() const {
  double sum = 0;
  for (size_t i = 0; i < count; i += kSampleRun)
    sum += scan_sum(weights + i, std::min(kSampleRun, count - i));
  return sum;
}

void WeightedTokens::keep_from(float least) {
  count = scan_filter({weights, count}, ids, least, {weights, ids});
}

void WeightedTokens::keep_heaviest(double wanted) {
  // The first pass is by pairs of octaves, which leaves few tokens; then those of a narrow band are
  // looked at one by one.
  Thresholds thresholds;
  for (size_t i = 0; i < kThresholds; ++i) thresholds[i] = std::ldexp(1.0f, -2 * int(i + 1));
  Band band;
  if (narrow(*this, thresholds, wanted, band)) keep_from(band.least);
  const WeightedTokens few = inside(*this, wanted, band);
  std::vector<Token>& sorted = lists.sorted;
  sorted.clear();
  for (size_t i = 0; i < few.count; ++i) sorted.push_back({few.weights[i], few.ids[i]});
  std::ranges::sort(sorted, [](const Token& a, const Token& b) {
    return a.weight != b.weight ? a.weight > b.weight : a.id < b.id;
  });
  size_t last = 0;
  for (double sum = band.above; last < sorted.size(); ++last)
    if ((sum += sorted[last].weight) >= wanted) break;
  if (last >= sorted.size()) return keep_from(band.least);
  const Token end = sorted[last];
  keep_from(end.weight);
  if (last + 1 == sorted.size() || sorted[last + 1].weight != end.weight) return;
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
  return last;  // Rounding may leave a rest at the very end.
}

}  // namespace altlas::ops
