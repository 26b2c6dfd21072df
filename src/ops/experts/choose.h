// Which experts a token takes, and how much of each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace altlas::ops {

// The experts.size() largest of softmax(logits), the lower index first among equals, written in
// ascending order of index. weights: as many; the probabilities, or with `normalized` those divided
// by their sum. At least one expert, at most all. Same bits on every machine. NaN logits give NaN
// weights. Source: arXiv:2401.04088, section 2.1.
void choose_experts(std::span<const float> logits, bool normalized, std::span<uint32_t> experts,
                    std::span<float> weights);

}  // namespace altlas::ops
