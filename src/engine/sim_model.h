// What a simulated replica is like: the shape of its model, what it holds of a device's memory,
// what a step costs.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "engine/executor.h"
#include "hardware/device_kinds.h"
#include "hardware/parallel_layout.h"
#include "step/step_plan.h"

namespace altlas::engine {

// The numbers of a decoder that its cost follows from.
struct SimShape {
  uint32_t layers = 0;
  uint32_t hidden = 0;
  uint32_t heads = 0;
  uint32_t kv_heads = 0;
  uint32_t head_dim = 0;
  uint32_t ffn = 0;           // The width of one expert where there are experts.
  uint32_t experts = 0;       // 0: dense.
  uint32_t experts_used = 0;  // Per token.
  uint32_t vocab = 0;
  uint32_t model_len_max = 0;
  uint64_t weight_bytes = 0;  // Bytes of the whole model's weights, as it lies on the devices.

  // Weights that one token is multiplied with.
  double active_parameters() const;
  // All of them.
  double parameters() const;
  // Key and value of one token in all layers, in values.
  uint64_t kv_values_per_token() const { return uint64_t{2} * layers * kv_heads * head_dim; }
};

struct SimOptions {
  DeviceKindInfo kind{};
  uint32_t device_count = 1;  // Ranks of the replica.
  ParallelLayout layout;
  SimShape shape;
  uint32_t sequences_max = 0;    // 0: 256.
  uint32_t step_tokens_max = 0;  // 0: 2048.
  uint32_t model_len_max = 0;    // 0: the model's.
  uint32_t block_tokens = 16;
  uint64_t kv_tokens_max = 0;  // 0: what the memory gives.
  uint32_t kv_value_bytes = 2;
  double memory_utilization = 0.9;
  uint32_t depth = 1;
  double efficiency = 0.8;         // Share of the device's peaks that is reached.
  uint64_t swap_bytes = 0;         // Host memory for KV blocks.
  double host_bytes_per_s = 20e9;  // Between device and host memory.
  uint32_t streamed_layers = 0;    // Layers of the model whose weights stay in host memory.
  bool draft_model = false;        // Guesses cost nothing and are right three times of four.
  bool generates = true;           // False: it only embeds, as an encoder does.
  bool reads_payloads = false;     // Its encoder is a function of a payload's content hash.
  uint32_t text_period = 0;        // Generated text repeats after this many tokens; 0: never.
};

// Bytes are those of one device: weights, heads and so KV are divided over tensor and pipeline
// ranks. KV blocks take what memory is left, at most sequences_max sequences of the longest length.
// Errors: kInvalid for a shape with a zero, or "does not fit" with the numbers.
Result<ReplicaLimits> sim_limits(const SimOptions& options);

// Microseconds of one step by the roofline, operator by operator: projections and experts,
// attention over `context` tokens per entry, the head for sampled rows, collectives of the tensor
// ranks, hand-over between pipeline stages. Pipeline stages work on different micro batches, so a
// step costs one stage plus its share of the bubble.
int64_t sim_step_us(const SimOptions& options, const StepPlan& plan);

}  // namespace altlas::engine
