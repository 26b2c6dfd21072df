// From logits to a token: a pure function of logits, parameters, token counts, seed and position.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

namespace altlas::ops {

inline constexpr int32_t kTopLogprobsMax = 20;

// How often a token was seen, for penalties.
struct TokenCount {
  int32_t id = 0;
  int32_t generated = 0;  // 0: only in the prompt.
};

// How a token is chosen. Order: bias, penalties, temperature, top_k, top_p (of what top_k left),
// min_p, draw by Philox(seed, position). Ids out of range are ignored; lists are sorted by id.
struct SampleParams {
  float temperature = 0.0f;  // 0: greedy.
  int32_t top_k = 0;         // 0: all.
  float top_p = 1.0f;
  float min_p = 0.0f;
  float repetition_penalty = 1.0f;  // For every token seen, arXiv:1909.05858.
  float presence_penalty = 0.0f;    // The presence penalty of generated tokens.
  float frequency_penalty = 0.0f;
  uint64_t seed = 0;
  std::span<const std::pair<int32_t, float>> logit_bias;
  std::span<const TokenCount> counts;
  std::span<const int32_t> banned;  // Never chosen.

  bool changes_logits() const {
    return !logit_bias.empty() || !banned.empty() ||
           (!counts.empty() &&
            (repetition_penalty != 1.0f || presence_penalty != 0.0f || frequency_penalty != 0.0f));
  }
};

// Index of the largest of count >= 1 logits, the lowest of equal ones; NaN never wins.
int32_t argmax_cpu(const float* logits, size_t count);
int32_t argmax_ref(const float* logits, size_t count);

// The largest logit seen so far and its id; of equal ones the lowest. NaN never wins; 0 where there
// is none above -infinity.
struct Best {
  float logit = -std::numeric_limits<float>::infinity();
  int32_t id = 0;
};
// Looks at `count` logits of the ids from `first` on; called with ascending ids.
void best_cpu(const float* logits, size_t count, int32_t first, Best& best);

// Largest of a row's logits and log(sum e^logit).
struct LogSum {
  float largest = 0;
  double log_sum = 0;
};
inline float logprob(float logit, const LogSum& sum) {
  return static_cast<float>(static_cast<double>(logit) - sum.log_sum);
}

struct TokenLogit {
  float logit;
  int32_t id;
};

// Bias, then penalties, then bans to the logits of ids [first, first + count).
void change_logits(const SampleParams& params, size_t first, float* logits, size_t count);

}  // namespace altlas::ops
