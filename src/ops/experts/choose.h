// Which experts a token takes, and how much of each.
#pragma once

#include <cstddef>
#include <cstdint>

namespace altlas::ops {

// The `used` largest of softmax(logits) [count], the lower index first among equals, written in
// ascending order of index. Weights are the probabilities, or with `normalized` those divided by
// their sum. 1 <= used <= count. Same bits on every machine. NaN logits give NaN weights.
// Source: arXiv:2401.04088, section 2.1.
void choose_experts(const float* logits, size_t count, size_t used, bool normalized,
                    uint32_t* experts, float* weights);

}  // namespace altlas::ops
