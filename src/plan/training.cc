#include "plan/training.h"

#include <algorithm>

namespace altlas::plan {
namespace {

constexpr double kReached = 0.5;  // The share of peaks that training reaches.
// FP32 units have about a sixteenth of the BF16 peak: A100 19.5 of 312 TFLOP/s, H100 67 of 989.
constexpr double kFp32Slower = 16;
constexpr double kScorePassesForward = 4;   // Reads and writes of the scores in a forward pass.
constexpr double kScorePassesBackward = 6;  // The same in a backward pass.
constexpr double kGatheredLayers = 2;       // Layers whose weights ZeRO stage 3 holds whole.

// Activations that backward needs of one layer, in bytes.
double layer_activations(const TrainingShape& shape, const TrainingLoad& load,
                         const TrainingTechniques& techniques) {
  const double bytes = techniques.bf16 ? 2 : 4;
  const double tokens = double{1} * load.sequence_tokens * load.micro_batch;
  // The input, queries, what the output projection takes; keys and values by their heads' share.
  const double attention = bytes * tokens * shape.hidden * (3 + 2 * shape.kv_share);
  const double scores = techniques.flash ? 4 * tokens * shape.heads  // A log-sum per row.
                                         : bytes * tokens * load.sequence_tokens * shape.heads;
  // The input; before and after the activation function; a gate has its own output and the product.
  const double ffn =
      bytes * tokens * (shape.hidden + double{1} * shape.ffn * (shape.ffn_matrices == 3 ? 4 : 2));
  const double norms = bytes * tokens * shape.hidden * 2;
  return attention + scores + ffn + norms;
}

double activations(const TrainingShape& shape, const TrainingLoad& load,
                   const TrainingTechniques& techniques) {
  const double layer = layer_activations(shape, load, techniques);
  if (!techniques.checkpoint) return layer * shape.layers;
  const double segments = std::clamp(load.checkpoint_segments, 1, shape.layers);
  const double inputs = segments * (techniques.bf16 ? 2.0 : 4.0) * load.sequence_tokens *
                        load.micro_batch * shape.hidden;
  return inputs + layer * shape.layers / segments;
}

// Seconds that the device computes in one optimizer step.
double compute_seconds(const TrainingShape& shape, const TrainingLoad& load,
                       const TrainingTechniques& techniques, const DeviceKindInfo& kind) {
  const double tokens = double{1} * load.sequence_tokens * load.micro_batch;
  const double pairs = tokens * load.sequence_tokens;
  const double forward = 2 * shape.parameters * tokens + 4 * shape.layers * pairs * shape.hidden;
  const double forwards = techniques.checkpoint ? 4 : 3;  // Backward costs two.
  const double flops_per_s = kReached * kind.bf16_flops / (techniques.bf16 ? 1 : kFp32Slower);
  double seconds = forwards * forward / flops_per_s;
  if (!techniques.flash) {
    const double pass = (techniques.bf16 ? 2.0 : 4.0) * shape.layers * pairs * shape.heads;
    const double passes =
        kScorePassesForward * (techniques.checkpoint ? 2 : 1) + kScorePassesBackward;
    seconds += passes * pass / (kReached * kind.memory_bytes_per_s);
  }
  return seconds * load.accumulation_steps;
}

// Seconds that links carry beside that.
double transfer_seconds(const TrainingShape& shape, const TrainingLoad& load,
                        const TrainingTechniques& techniques, const DeviceKindInfo& kind) {
  const double bytes = techniques.bf16 ? 2 : 4;
  const double share = techniques.zero3 ? 1.0 / load.devices : 1.0;
  double seconds = 0;
  if (techniques.zero3)  // Weights are gathered twice, gradients scattered once, each pass.
    seconds += 3 * bytes * shape.parameters * (1 - share) * load.accumulation_steps /
               kind.link_bytes_per_s;
  if (techniques.offload)  // Gradients down each pass, weights up once.
    seconds +=
        bytes * shape.parameters * share * (load.accumulation_steps + 1) / load.host_bytes_per_s;
  return seconds;
}

// Seconds of Adam in host memory, which serves all devices of a machine: it reads gradient, master
// weight and two moments, and writes all but the gradient.
double host_seconds(const TrainingShape& shape, const TrainingLoad& load,
                    const TrainingTechniques& techniques) {
  if (!techniques.offload) return 0;
  const double copies = techniques.zero3 ? 1 : load.devices;
  return 28 * shape.parameters * copies / load.host_memory_bytes_per_s;
}

}  // namespace

TrainingShape seed_training_shape() {
  TrainingShape out{.name = "seed", .layers = 32, .hidden = 4096, .heads = 32, .ffn = 16384};
  const double d = out.hidden, f = out.ffn;
  const double layer = 4 * d * d + 4 * d + 2 * d * f + f + d + 4 * d;
  out.parameters = layer * out.layers;
  return out;
}

TrainingCost training_cost(const TrainingShape& shape, const TrainingLoad& load,
                           const TrainingTechniques& techniques, const DeviceKindInfo& kind) {
  TrainingCost out;
  const double share = techniques.zero3 ? 1.0 / load.devices : 1.0;
  const double bytes = techniques.bf16 ? 2 : 4;
  out.weights = bytes * shape.parameters * share;
  if (techniques.zero3)
    out.weights += kGatheredLayers * bytes * shape.parameters / std::max(1, shape.layers);
  out.gradients = bytes * shape.parameters * share;
  // Two moments, and with BF16 the weights that the steps add up in.
  out.optimizer = (techniques.bf16 ? 12 : 8) * shape.parameters * share;
  out.activations = activations(shape, load, techniques);
  if (techniques.offload) {
    const double layer = out.gradients / std::max(1, shape.layers);
    out.host = out.optimizer + out.gradients;
    out.optimizer = 0;
    out.gradients = 2 * layer;  // One layer's leave while the next one's come.
  }
  // Links carry beside the products; what they need beyond that is waited for, as is the host.
  out.step_s = std::max(compute_seconds(shape, load, techniques, kind),
                        transfer_seconds(shape, load, techniques, kind)) +
               host_seconds(shape, load, techniques);
  return out;
}

std::vector<TrainingRow> training_rows() {
  const TrainingTechniques none, bf16{.bf16 = true};
  return {
      {"FP16/BF16", bf16, none, "50 %", "+20-50 %"},
      {"activation checkpointing", {.bf16 = true, .checkpoint = true}, bf16, "60-80 %", "-20-30 %"},
      {"gradient offload (CPU)", {.bf16 = true, .offload = true}, bf16, "30-50 %", "-40-60 %"},
      {"ZeRO stage 3", {.bf16 = true, .zero3 = true}, bf16, "85+ %", "-30-50 %"},
      {"flash attention", {.bf16 = true, .flash = true}, bf16, "30 %", "+30-60 %"},
      {"all of them",
       {.bf16 = true, .checkpoint = true, .offload = true, .zero3 = true, .flash = true},
       none,
       "-",
       "-"}};
}

}  // namespace altlas::plan
