#include "ops/sample/sample.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/philox.h"
#include "ops/math/scalar.h"
#include "ops/sample/scan.h"

namespace altlas::ops {
namespace {
constexpr float kNever = -std::numeric_limits<float>::infinity();

struct Candidate {
  float logit;
  int32_t id;
};
// Most likely first, equal ones by lowest id: a total order, so every selection below is unique.
bool before(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

void change_logits(float* logits, size_t count, const SampleParams& params) {
  const auto known = [&](int32_t id) { return id >= 0 && static_cast<size_t>(id) < count; };
  for (const auto& [id, bias] : params.logit_bias)
    if (known(id)) logits[id] += bias;
  for (const TokenCount& seen : params.counts) {
    if (!known(seen.id)) continue;
    float& logit = logits[seen.id];
    logit = logit > 0 ? logit / params.repetition_penalty : logit * params.repetition_penalty;
    if (seen.generated > 0)
      logit -=
          params.presence_penalty + params.frequency_penalty * static_cast<float>(seen.generated);
  }
  for (const int32_t id : params.banned)
    if (known(id)) logits[id] = kNever;
}

// This thread's list, kept for its memory: a step does not allocate. What the functions below
// return is it, until the next call.
std::vector<Candidate>& empty_list() {
  thread_local std::vector<Candidate> list;
  list.clear();
  return list;
}

// The n best, best first. A bounded heap: one vector pass that stops only at values that can enter
// it.
std::vector<Candidate>& best(const float* logits, size_t count, size_t n) {
  std::vector<Candidate>& heap = empty_list();  // The worst of the best on top.
  n = std::min(n, count);
  if (n == 0) return heap;
  heap.reserve(n);
  for (size_t i = 0; i < count && heap.size() < n; ++i) {
    heap.push_back({std::isnan(logits[i]) ? kNever : logits[i], static_cast<int32_t>(i)});
    std::push_heap(heap.begin(), heap.end(), before);
  }
  for (size_t i = scan_above(logits, n, count, heap.front().logit); i < count;
       i = scan_above(logits, i + 1, count, heap.front().logit)) {
    const Candidate candidate{logits[i], static_cast<int32_t>(i)};
    if (!before(candidate, heap.front())) continue;
    std::pop_heap(heap.begin(), heap.end(), before);
    heap.back() = candidate;
    std::push_heap(heap.begin(), heap.end(), before);
  }
  std::sort_heap(heap.begin(), heap.end(), before);
  return heap;
}

double exp_sum(const float* logits, size_t count, float largest, float inverse) {
  double sum = 0;
  for (size_t i = 0; i < count; i += kScanRun)
    sum += scan_exp_sum(logits + i, std::min(kScanRun, count - i), largest, inverse);
  return sum;
}

// The shortest run of best tokens whose weight reaches top_p of the total, best first. Looks at
// ever more tokens, each time those within some distance of the best, until the run lies inside.
std::vector<Candidate>& nucleus(const float* logits, size_t count, const SampleParams& params,
                                float largest, float inverse) {
  const double wanted = params.top_p * exp_sum(logits, count, largest, inverse);
  for (float distance = 4;; distance *= 2) {
    const float bound = distance > 64 ? kNever : largest - distance * params.temperature;
    std::vector<Candidate>& found = empty_list();
    for (size_t i = scan_above(logits, 0, count, bound); i < count;
         i = scan_above(logits, i + 1, count, bound))
      found.push_back({logits[i], static_cast<int32_t>(i)});
    std::ranges::sort(found, before);
    double sum = 0;
    for (size_t i = 0; i < found.size(); ++i) {
      sum += exp_f32((found[i].logit - largest) * inverse);
      if (sum >= wanted) {
        found.resize(i + 1);
        return found;
      }
    }
    if (bound == kNever) return found;  // Rounding kept the sum just below.
  }
}

// Draws among candidates, best first.
int32_t draw(const std::vector<Candidate>& candidates, float largest, float inverse,
             float uniform) {
  double total = 0;
  for (const Candidate& c : candidates) total += exp_f32((c.logit - largest) * inverse);
  double left = uniform * total;
  for (const Candidate& c : candidates) {
    left -= exp_f32((c.logit - largest) * inverse);
    if (left < 0) return c.id;
  }
  return candidates.front().id;  // Rounding at the very end.
}

// Draws among all tokens with (logit - largest) * inverse >= log(min_p), in order of ids.
int32_t draw_all(const float* logits, size_t count, float largest, float inverse, float uniform) {
  double left = uniform * exp_sum(logits, count, largest, inverse);
  int32_t last = 0;
  for (size_t i = 0; i < count; i += kScanRun) {
    const size_t run = std::min(kScanRun, count - i);
    const double weight = scan_exp_sum(logits + i, run, largest, inverse);
    if (left >= weight) {
      left -= weight;
      continue;
    }
    for (size_t k = i; k < i + run; ++k) {
      const float one = exp_f32((logits[k] - largest) * inverse);
      if (one > 0) last = static_cast<int32_t>(k);
      left -= one;
      if (left < 0) return last;
    }
    left = 0;  // The run's tokens sum to a little less in this order: the next one is drawn.
  }
  return last;
}

void cut_by_top_p(std::vector<Candidate>& candidates, float top_p, float largest, float inverse) {
  double total = 0, sum = 0;
  for (const Candidate& c : candidates) total += exp_f32((c.logit - largest) * inverse);
  for (size_t i = 0; i < candidates.size(); ++i) {
    sum += exp_f32((candidates[i].logit - largest) * inverse);
    if (sum < top_p * total) continue;
    candidates.resize(i + 1);
    return;
  }
}
}  // namespace

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

LogSum log_sum_cpu(const float* logits, size_t count) {
  const float largest = scan_largest(logits, count);
  return {largest, largest + log_f64(exp_sum(logits, count, largest, 1.0f))};
}

size_t top_ids(const float* logits, size_t count, std::span<int32_t> ids) {
  const std::vector<Candidate>& found = best(logits, count, ids.size());
  for (size_t i = 0; i < found.size(); ++i) ids[i] = found[i].id;
  return found.size();
}

int32_t sample_cpu(float* logits, size_t count, const SampleParams& params, uint64_t position) {
  ALTLAS_CHECK(count > 0, "a vocabulary");
  if (params.changes_logits()) change_logits(logits, count, params);
  if (params.temperature <= 0 || params.top_k == 1) return argmax_cpu(logits, count);
  const float largest = scan_largest(logits, count);
  // Infinite logits, or a temperature so low that only the best remains.
  const float inverse = 1.0f / params.temperature;
  if (!std::isfinite(largest) || !std::isfinite(inverse)) return argmax_cpu(logits, count);
  const float uniform = philox_uniform(params.seed, position);
  std::vector<Candidate>& candidates = empty_list();  // Those functions fill the same list.
  if (params.top_k > 0 && static_cast<size_t>(params.top_k) < count) {
    best(logits, count, static_cast<size_t>(params.top_k));
    if (params.top_p < 1) cut_by_top_p(candidates, params.top_p, largest, inverse);
  } else if (params.top_p < 1) {
    nucleus(logits, count, params, largest, inverse);
  } else if (params.min_p > 0) {
    for (size_t i = 0; i < count; ++i)
      if (exp_f32((logits[i] - largest) * inverse) >= params.min_p)
        candidates.push_back({logits[i], static_cast<int32_t>(i)});
    std::ranges::sort(candidates, before);
  } else {
    return draw_all(logits, count, largest, inverse, uniform);
  }
  if (params.min_p > 0)
    std::erase_if(candidates, [&](const Candidate& c) {
      return exp_f32((c.logit - largest) * inverse) < params.min_p;
    });
  return candidates.empty() ? argmax_cpu(logits, count)
                            : draw(candidates, largest, inverse, uniform);
}

}  // namespace altlas::ops
