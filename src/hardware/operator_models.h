// How long the operators of a decoder take on each kind of device: rooflines with efficiencies
// fitted on measured operator times. Sizes are values, times seconds.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/result.h"
#include "hardware/device_kinds.h"

namespace altlas {

// How well a model's formula meets the operator times that it was fitted on.
struct FitError {
  double median = 0;  // The median of |predicted / measured - 1|.
  double p90 = 0;
  int32_t rows = 0;  // 0: fitted on none.
};

// Shares are of the data sheet's peaks in DeviceKindInfo.
struct GemmModel {
  double fixed_s = 0;
  double row_s = 0;     // Per row of activations: FP8 and FP4 inputs are quantised row by row.
  double quantise = 0;  // Times that quantising reads and writes them at the memory's peak.
  double flops_share = 0;
  double memory_share = 0;
  double k_half = 0;      // At this depth a product reaches half of its rate.
  double n_half = 0;      // The number of columns with which half of the memory's bandwidth.
  double wave_share = 0;  // How far the last, partly filled wave of tiles costs a whole one.
  FitError error = {};
};
struct PrefillModel {
  double fixed_s = 0;
  // The share of the memory's bandwidth, for queries, keys, values and results.
  double io_share = 0;
  double flops_share = 0;
  double tokens_half = 0;  // What a sequence's diagonal tiles compute in vain, in tokens.
  FitError error = {};
};
struct DecodeModel {
  double fixed_s = 0;
  double head_s = 0;  // Per sequence and KV head.
  double memory_share = 0;
  FitError error = {};
};
struct AllReduceModel {
  double fixed_s = 0;
  double rank_s = 0;
  // The share of the link, when every rank reads every other's buffer at once.
  double direct_share = 0;
  double ring_s = 0;  // Per rank, when reduce-scatter and all-gather follow each other.
  double ring_share = 0;
  double contention = 0;  // The ring's rate falls with (ranks / 2)^contention: PCIe is shared.
  FitError error = {};
};

// A row of the table that bench/simulation/fit_device_models.py makes.
struct OperatorModels {
  std::string_view kind;
  int32_t processors = 0;  // Streaming multiprocessors.
  GemmModel bf16 = {};
  GemmModel fp8 = {};
  GemmModel fp4 = {};
  PrefillModel prefill = {};
  DecodeModel decode_bf16 = {};  // By the type of the KV cache.
  DecodeModel decode_fp8 = {};
  AllReduceModel all_reduce = {};
};

// The number format that a matrix product is computed in.
enum class MathType : uint8_t { kBf16, kFp8, kFp4 };

struct DeviceModel {
  DeviceKindInfo kind;
  OperatorModels operators;
  // The kind whose efficiencies these are: kind.name where operators were measured, else the
  // nearest relative of those that were; peaks and memory are then the data sheet's.
  std::string_view fitted_on;

  bool measured() const { return fitted_on == kind.name; }
  bool computes(MathType type) const;
};

// Errors: kNotFound for a kind without a model, naming those that have one.
Result<DeviceModel> device_model(std::string_view kind);
std::span<const OperatorModels> fitted_operators();

// out[rows, columns] = in[rows, depth] * weights[columns, depth]. The type must be one that the
// device computes.
struct GemmShape {
  double rows = 0;
  double columns = 0;
  double depth = 0;
  double weight_bytes_per_value = 2;
  MathType type = MathType::kBf16;
  double experts = 1;  // Distinct weight matrices that the rows are spread over.
  // The operator before wrote its result as `type`; otherwise quantising it comes first.
  bool quantised_before = false;
};
double gemm_seconds(const DeviceModel& device, const GemmShape& shape);

// Attention of whole prompts or chunks of them. pairs: of a query and a key that it sees.
struct PrefillShape {
  double sequences = 0;
  double tokens = 0;
  double pairs = 0;
  double heads = 0;
  double kv_heads = 0;
  double head_dim = 0;
};
double prefill_seconds(const DeviceModel& device, const PrefillShape& shape);

// Attention of one token per sequence over `context` tokens in all.
struct DecodeShape {
  double sequences = 0;
  double context = 0;
  double kv_heads = 0;
  double head_dim = 0;
  double kv_bytes_per_value = 2;
};
double decode_seconds(const DeviceModel& device, const DecodeShape& shape);

// `bytes` on each of `ranks` devices; 0 for one rank. Beyond a node's devices the slowest link is
// one between nodes.
double all_reduce_seconds(const DeviceModel& device, int32_t ranks, double bytes);
// From one pipeline stage to the next.
double send_seconds(const DeviceModel& device, double bytes);
// A norm, a rotation, an activation: bound by memory, one launch.
double elementwise_seconds(const DeviceModel& device, double bytes);

}  // namespace altlas
