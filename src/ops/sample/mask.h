// Restricts the next token to a set.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace altlas::ops {

// logits[i] becomes -infinity unless bit i % 64 of allowed[i / 64] is set; beyond `allowed` all do.
void mask_logits_cpu(float* logits, size_t count, std::span<const uint64_t> allowed);
void mask_logits_ref(float* logits, size_t count, std::span<const uint64_t> allowed);

}  // namespace altlas::ops
