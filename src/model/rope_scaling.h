// Rope frequencies of models whose context was stretched after training.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"

namespace altlas::model {

enum class RopeScalingKind : uint8_t { kNone, kLinear, kYarn, kLlama3 };

struct RopeScaling {
  RopeScalingKind kind = RopeScalingKind::kNone;
  double factor = 1;                // How much longer the context became.
  double original_context = 0;      // Tokens it was trained with; kYarn, kLlama3.
  double beta_fast = 32;            // kYarn: turns within that context above which nothing changes,
  double beta_slow = 1;             // and below which everything is stretched.
  bool truncate = true;             // kYarn: the bounds are whole dimensions.
  double attention_factor = 0;      // kYarn: of cosines and sines; 0: follows from the factor.
  double low_frequency_factor = 1;  // kLlama3.
  double high_frequency_factor = 4;
};

struct RopeTable {
  std::vector<double> frequency;  // [dims / 2], in radians per token.
  float scale = 1;                // The scale of cosines and sines.
};

// dims: values of a head that turn; even.
// Errors: kInvalid for numbers that no frequency follows from.
// Sources: kLinear arXiv:2306.15595; kYarn arXiv:2309.00071; kLlama3 the rope function of Meta's
// llama-models repository. Details as transformers' modeling_rope_utils computes them.
Result<RopeTable> rope_table(double base, uint32_t dims, const RopeScaling& scaling);

// Limits on what a file may ask for.
inline constexpr double kRopeBaseMax = 1e12;
inline constexpr double kRopeFactorMax = 1e6;

}  // namespace altlas::model
