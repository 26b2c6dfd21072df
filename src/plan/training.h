// What training a decoder takes: bytes on each device and time of a step, with the techniques that
// trade one for the other. Nothing here is measured: it follows from shapes and peaks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "hardware/device_kinds.h"

namespace altlas::plan {

struct TrainingShape {
  std::string_view name;
  int32_t layers = 0;
  int32_t hidden = 0;
  int32_t heads = 0;
  double kv_share = 1;  // KV heads over heads.
  int32_t ffn = 0;
  int32_t ffn_matrices = 2;  // 3 where a gate multiplies.
  double parameters = 0;     // How many are trained.
};
// The second seed's LargeTransformer: 32 layers of 4096, 32 heads, feed-forward of 16384.
TrainingShape seed_training_shape();

struct TrainingLoad {
  int32_t sequence_tokens = 2048;
  int32_t micro_batch = 2;          // Sequences per device and pass.
  int32_t accumulation_steps = 4;   // Passes per optimizer step.
  int32_t devices = 8;              // That ZeRO stage 3 divides the state over.
  int32_t checkpoint_segments = 4;  // Groups of layers whose activations are computed again.
  double host_bytes_per_s = 25e9;   // Between a device and its host, one direction.
  double host_memory_bytes_per_s = 200e9;
};

// Techniques in use, in the order of the seed's table.
struct TrainingTechniques {
  bool bf16 = false;        // Products, weights and gradients in BF16; FP32 master weights.
  bool checkpoint = false;  // Only the inputs of segments are kept.
  bool offload = false;     // Optimizer state and gradients in host memory (ZeRO-Offload).
  bool zero3 = false;       // Weights, gradients and optimizer state divided over the devices.
  bool flash = false;       // The attention's scores are never written.
};

struct TrainingCost {
  double weights = 0;  // Bytes on one device, of each kind.
  double gradients = 0;
  double optimizer = 0;
  double activations = 0;
  double host = 0;    // Bytes in host memory, for one device.
  double step_s = 0;  // The time of one optimizer step.

  double device_bytes() const { return weights + gradients + optimizer + activations; }
};

// Adam (two FP32 moments). Activations as Korthikanti et al., "Reducing Activation Recomputation in
// Large Transformer Models" (2022), section 4, without dropout. Time: products at `kind`'s peak and
// memory traffic of scores at its bandwidth, 0.5 of each reached, and what the links carry beside
// them, as far as it takes longer.
TrainingCost training_cost(const TrainingShape& shape, const TrainingLoad& load,
                           const TrainingTechniques& techniques, const DeviceKindInfo& kind);

struct TrainingRow {
  std::string name;  // "BF16".
  TrainingTechniques techniques;
  TrainingTechniques beside;            // What it is compared with.
  std::string seed_saving, seed_speed;  // What the seed's table says.
};
// The seed's five techniques, each alone beside FP32 (those that presume BF16, beside that), and
// all together.
std::vector<TrainingRow> training_rows();

}  // namespace altlas::plan
