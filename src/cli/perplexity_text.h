// What `altlas perplexity` reads and prints, apart from the model.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "task/task.h"

namespace altlas::cli {

inline constexpr size_t kPerplexityIdsMax = size_t{1} << 24;

// A JSON list of token ids, each of [0, vocab_size).  Errors: kInvalid naming the element.
Result<std::vector<int32_t>> parse_ids(std::string_view text, int32_t vocab_size);

// For every token after the first: its natural log-probability, and the id of the likeliest token
// in its place.
struct Perplexity {
  std::vector<int32_t> ids;
  std::vector<float> logprobs;
  std::vector<int32_t> top1;
  double nll = 0;  // Mean of -logprobs.
};
// Errors: kInternal where the engine's answer does not fit the ids.
Result<Perplexity> make_perplexity_of(std::vector<int32_t> ids,
                                      std::span<const TokenLogprobs> logprobs);
// {"ids":[…],"logprobs":[…],"top1":[…],"nll":x}; numbers read back the same.
std::string to_json(const Perplexity& perplexity);

}  // namespace altlas::cli
