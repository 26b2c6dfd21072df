#include "hardware/operator_models.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string>

#include "base/check.h"

namespace altlas {
namespace {

// clang-format off
constexpr OperatorModels kFitted[] = {
#include "hardware/operator_table.inc"
};
// clang-format on

// A kind without measured operators, and the kind whose efficiencies it is given.
struct Relative {
  std::string_view kind;
  std::string_view fitted_on;
  int32_t processors;
};
constexpr Relative kRelatives[] = {
    {"a100-40gb", "a100-80gb", 108},  // The same chip.
    {"a10g", "a100-80gb", 80},        // Ampere.
    {"l4", "l40s", 58},               // Ada.
    {"gb200", "b200", 148},           // Blackwell.
};

constexpr double kTile = 128;    // Rows and columns of a tile of a product.
constexpr double kRowsMin = 16;  // The fewest rows that a tensor core takes.
// The share of a node's links that a link between nodes has: 400 Gb/s beside NVLink.
constexpr double kBetweenNodesShare = 1.0 / 9;
constexpr double kSendShare = 0.7;

double norm2(double a, double b) { return std::sqrt(a * a + b * b); }
double norm3(double a, double b) {
  const double top = std::max(a, b);
  if (top <= 0) return 0;
  return top * std::cbrt(std::pow(a / top, 3) + std::pow(b / top, 3));
}

const GemmModel& gemm_model(const OperatorModels& operators, MathType type) {
  switch (type) {
    case MathType::kBf16:
      return operators.bf16;
    case MathType::kFp8:
      return operators.fp8;
    case MathType::kFp4:
      return operators.fp4;
  }
  return operators.bf16;
}

double peak_flops(const DeviceKindInfo& kind, MathType type) {
  switch (type) {
    case MathType::kBf16:
      return kind.bf16_flops;
    case MathType::kFp8:
      return kind.fp8_flops;
    case MathType::kFp4:
      return kind.fp4_flops;
  }
  return kind.bf16_flops;
}

double activation_bytes(MathType type) {
  return type == MathType::kBf16 ? 2 : type == MathType::kFp8 ? 1 : 0.5625;
}
}  // namespace

std::span<const OperatorModels> fitted_operators() { return kFitted; }

bool DeviceModel::computes(MathType type) const {
  return peak_flops(kind, type) > 0 && gemm_model(operators, type).flops_share > 0;
}

Result<DeviceModel> device_model(std::string_view name) {
  std::string_view fitted_on = name;
  int32_t processors = 0;
  for (const Relative& relative : kRelatives) {
    if (relative.kind != name) continue;
    fitted_on = relative.fitted_on;
    processors = relative.processors;
  }
  const auto* found = std::ranges::find(kFitted, fitted_on, &OperatorModels::kind);
  if (found == std::end(kFitted)) {
    std::string known;
    for (const OperatorModels& row : kFitted)
      known += (known.empty() ? "" : ", ") + std::string(row.kind);
    for (const Relative& relative : kRelatives) known += ", " + std::string(relative.kind);
    return not_found("'" + std::string(name) + "' is not a device kind with a model: use one of " +
                     known);
  }
  ALTLAS_TRY(const DeviceKindInfo kind, device_kind(name));
  DeviceModel model{.kind = kind, .operators = *found, .fitted_on = fitted_on};
  if (processors != 0) model.operators.processors = processors;
  return model;
}

double gemm_seconds(const DeviceModel& device, const GemmShape& s) {
  const GemmModel& model = gemm_model(device.operators, s.type);
  ALTLAS_CHECK(device.computes(s.type), "the device computes this type");
  if (s.rows <= 0) return 0;
  const double rows = std::max(s.rows, kRowsMin * s.experts);
  const double processors = device.operators.processors;
  // The last wave of tiles fills only some of the processors.
  const double tiles =
      s.experts * std::ceil(s.rows / s.experts / kTile) * std::ceil(s.columns / kTile) / processors;
  const double waves = tiles + std::min(model.wave_share, 1.0) * (std::ceil(tiles) - tiles);
  const double flops =
      2 * rows * s.columns * s.depth * (waves / tiles) * (1 + model.k_half / s.depth);
  const double input = activation_bytes(s.type);
  const double bytes = s.experts * (s.columns + model.n_half) * s.depth * s.weight_bytes_per_value +
                       s.rows * s.depth * input + s.rows * s.columns * 2;
  const double quantised = s.rows * s.depth * (2 + input) * model.quantise;
  const double before = s.quantised_before ? std::min(model.fixed_s, device.operators.bf16.fixed_s)
                                           : model.fixed_s + model.row_s * s.rows +
                                                 quantised / device.kind.memory_bytes_per_s;
  return before + norm3(flops / (model.flops_share * peak_flops(device.kind, s.type)),
                        bytes / (model.memory_share * device.kind.memory_bytes_per_s));
}

double prefill_seconds(const DeviceModel& device, const PrefillShape& s) {
  if (s.tokens <= 0) return 0;
  const PrefillModel& model = device.operators.prefill;
  const double bytes = s.tokens * (2 * s.heads + 4 * s.kv_heads) * s.head_dim * 2;
  const double pairs = s.pairs + s.tokens * model.tokens_half / 2;
  return model.fixed_s + bytes / (model.io_share * device.kind.memory_bytes_per_s) +
         4 * pairs * s.heads * s.head_dim / (model.flops_share * device.kind.bf16_flops);
}

double decode_seconds(const DeviceModel& device, const DecodeShape& s) {
  if (s.sequences <= 0) return 0;
  const bool narrow = s.kv_bytes_per_value < 2 && device.operators.decode_fp8.memory_share > 0;
  const DecodeModel& model = narrow ? device.operators.decode_fp8 : device.operators.decode_bf16;
  const double bytes = s.context * s.kv_heads * s.head_dim * 2 * s.kv_bytes_per_value;
  return model.fixed_s + norm2(s.sequences * s.kv_heads * model.head_s,
                               bytes / (model.memory_share * device.kind.memory_bytes_per_s));
}

double all_reduce_seconds(const DeviceModel& device, int32_t ranks, double bytes) {
  if (ranks <= 1) return 0;
  const AllReduceModel& model = device.operators.all_reduce;
  const double n = ranks;
  const bool between_nodes = static_cast<uint32_t>(ranks) > device.kind.devices_per_node;
  const double link = device.kind.link_bytes_per_s * (between_nodes ? kBetweenNodesShare : 1);
  const double direct = bytes * (n - 1) / (model.direct_share * link);
  const double ring = model.ring_s * n + 2 * (n - 1) / n * bytes *
                                             std::pow(n / 2, model.contention) /
                                             (model.ring_share * link);
  return model.fixed_s + model.rank_s * n + std::min(direct, ring);
}

double send_seconds(const DeviceModel& device, double bytes) {
  return device.operators.all_reduce.fixed_s + bytes / (kSendShare * device.kind.link_bytes_per_s);
}

double elementwise_seconds(const DeviceModel& device, double bytes) {
  const GemmModel& model = device.operators.bf16;
  return model.fixed_s + bytes / (model.memory_share * device.kind.memory_bytes_per_s);
}

}  // namespace altlas
