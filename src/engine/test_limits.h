// The limits of a small replica, for tests: one rank with 1000 bytes of weights.
#pragma once

#include "replica/limits.h"

namespace altlas::engine {

inline replica::ReplicaLimits test_limits(uint32_t blocks = 100, uint32_t slots = 4,
                                          uint32_t step_tokens = 16) {
  replica::ReplicaLimits l;
  l.sequences_max = slots;
  l.step_tokens_max = step_tokens;
  l.block_tokens = 4;
  l.groups = {{.blocks = blocks, .block_bytes = 64}};
  l.ranks = {{.weights = 1000, .activations = 0, .blocks = {64}}};
  l.vocab_size = 1000;
  return l;
}

}  // namespace altlas::engine
