// One vector from the hidden states of a prompt's tokens, which may come in several steps.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "model/architecture.h"

namespace altlas::model {

// Tokens are added in their order, one by one: the bits do not depend on the steps.
class PromptPool {
 public:
  void clear() {
    count_ = 0;
    values_.clear();
  }
  // The hidden state of the prompt's next token.
  void add(Pooling pooling, std::span<const float> hidden) {
    if (count_ == 0 || pooling == Pooling::kLast)
      values_.assign(hidden.begin(), hidden.end());
    else if (pooling == Pooling::kMean)
      for (size_t i = 0; i < hidden.size(); ++i) values_[i] += hidden[i];
    ++count_;
  }
  uint64_t count() const { return count_; }
  // A vector of length 1 (L2); a mean's divisor does not change that. Zeros stay zeros.
  std::vector<float> take() {
    double squares = 0;
    for (const float value : values_) squares += double{value} * value;
    const double scale = squares > 0 ? 1 / std::sqrt(squares) : 0;
    for (float& value : values_) value = static_cast<float>(value * scale);
    count_ = 0;
    return std::move(values_);
  }

 private:
  uint64_t count_ = 0;
  std::vector<float> values_;
};

}  // namespace altlas::model
