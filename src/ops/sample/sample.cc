#include "ops/sample/sample.h"

#include <algorithm>
#include <limits>
#include <span>

#include "base/check.h"
#include "ops/sample/scan.h"

namespace altlas::ops {
namespace {
constexpr float kNever = -std::numeric_limits<float>::infinity();

// logits: of the ids from `first` on. Calls use(entry, logit) for those of `sorted` that have one.
template <class List, class Id, class Use>
void for_each_in(const List& sorted, size_t first, std::span<float> logits, Id id, Use use) {
  const auto before = [&](const auto& entry, int64_t bound) { return id(entry) < bound; };
  const auto end = static_cast<int64_t>(first + logits.size());
  for (auto at =
           std::lower_bound(sorted.begin(), sorted.end(), static_cast<int64_t>(first), before);
       at != sorted.end() && id(*at) < end; ++at)
    use(*at, logits[static_cast<size_t>(id(*at)) - first]);
}

}  // namespace

void change_logits(const SampleParams& params, size_t first, float* logits, size_t count) {
  for_each_in(
      params.logit_bias, first, {logits, count}, [](const auto& bias) { return bias.first; },
      [](const auto& bias, float& logit) { logit += bias.second; });
  for_each_in(
      params.counts, first, {logits, count}, [](const TokenCount& seen) { return seen.id; },
      [&](const TokenCount& seen, float& logit) {
        logit = logit > 0 ? logit / params.repetition_penalty : logit * params.repetition_penalty;
        if (seen.generated > 0)
          logit -= params.presence_penalty +
                   params.frequency_penalty * static_cast<float>(seen.generated);
      });
  for_each_in(
      params.banned, first, {logits, count}, [](int32_t banned) { return banned; },
      [](int32_t, float& logit) { logit = kNever; });
}

int32_t argmax_ref(const float* logits, size_t count) {
  size_t best_index = 0;
  float largest = kNever;
  for (size_t i = 0; i < count; ++i)
    if (logits[i] > largest) {
      largest = logits[i];
      best_index = i;
    }
  return static_cast<int32_t>(best_index);
}

int32_t argmax_cpu(const float* logits, size_t count) {
  ALTLAS_DCHECK(count > 0, "a vocabulary");
  const float largest = scan_largest(logits, count);
  if (largest == kNever) return 0;
  return static_cast<int32_t>(scan_above(logits, 0, count, largest));
}

void best_cpu(const float* logits, size_t count, int32_t first, Best& best) {
  const float largest = scan_largest(logits, count);
  if (!(largest > best.logit)) return;
  best = {largest, first + static_cast<int32_t>(scan_above(logits, 0, count, largest))};
}

}  // namespace altlas::ops
