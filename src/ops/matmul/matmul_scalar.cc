// The reference product: plain loops, every rounding written out. The SIMD kernels give the same
// bits.
//
// Quantised weights, per output: acc = 0, then for each block of 32 values in k order, with exact
// integer sums I = sum((q - bias) * a) over the block or I[h] over its halves, S[h] = sum of a:
//   kScale:                   acc = fma(I * d, scale, acc)
//   kScaleMin, kSubScaleMin:  acc = fma(scaled_sum, n, fma(I * s, scale, acc))
//   kHalfScale:               acc = fma(fma(I[1], s[1], I[0] * s[0]), scale, acc)
//   kHalfScaleMin:            as kHalfScale with t = fma(-32 S[1], n[1], fma(-32 S[0], n[0], t))
//   before the last step
// where s = d * scale, n = m or -(m * min), in kHalfScaleMin (m * min) / 32.
// Float weights: even[k] and odd[k] are two chains of fma(w, x, chain); y = even + odd.
#include <algorithm>
#include <array>
#include <cmath>

#include "ops/dequantize/dequantize.h"
#include "ops/matmul/activation.h"
#include "ops/matmul/kernels.h"
#include "ops/matmul/panel_format.h"
#include "tensor/half.h"

namespace altlas::ops {
namespace {

struct RowBlock {
  QuantBlock block;
  float s[2];
  float n[2];
};

RowBlock row_block(const PanelFormat& format, const std::byte* panel, size_t b, size_t row) {
  RowBlock out{load_panel_block(format, panel, b, row), {}, {}};
  const float d = float_from_f16(out.block.d), m = float_from_f16(out.block.m);
  for (size_t h = 0; h < 2; ++h) {
    out.s[h] = d * static_cast<float>(out.block.scale[h]);
    out.n[h] = m * static_cast<float>(out.block.min[h]);
  }
  switch (format.scheme) {
    case BlockScheme::kScale:
    case BlockScheme::kHalfScale:
      break;
    case BlockScheme::kScaleMin:
      out.s[0] = d;
      out.n[0] = m;
      break;
    case BlockScheme::kSubScaleMin:
      out.n[0] = -out.n[0];
      break;
    case BlockScheme::kHalfScaleMin:
      for (float& n : out.n) n *= 1.0f / 32;
      break;
  }
  return out;
}

float add_block(const PanelFormat& format, const RowBlock& w, const ActivationBlock& a, float acc) {
  int sums[2] = {0, 0};
  for (size_t k = 0; k < kBlockValues; ++k)
    sums[k / 16] += (w.block.code[k] - format.bias) * a.quants[k];
  const auto whole = static_cast<float>(sums[0] + sums[1]);
  switch (format.scheme) {
    case BlockScheme::kScale:
      return std::fma(whole * w.s[0], a.scale, acc);
    case BlockScheme::kScaleMin:
    case BlockScheme::kSubScaleMin:
      return std::fma(a.scaled_sum, w.n[0], std::fma(whole * w.s[0], a.scale, acc));
    case BlockScheme::kHalfScale:
    case BlockScheme::kHalfScaleMin:
      break;
  }
  float t = std::fma(static_cast<float>(sums[1]), w.s[1], static_cast<float>(sums[0]) * w.s[0]);
  if (format.scheme == BlockScheme::kHalfScaleMin) {
    t = std::fma(static_cast<float>(a.minus_32_sum[0]), w.n[0], t);
    t = std::fma(static_cast<float>(a.minus_32_sum[1]), w.n[1], t);
  }
  return std::fma(t, a.scale, acc);
}

void matmul_quantized(const PackedMatrix& weights, const Activations& x, size_t row,
                      const std::byte* panel, Rows<float> y) {
  const PanelFormat format = panel_format(weights.type);
  const auto* records = reinterpret_cast<const ActivationBlock*>(x.quantized);
  const size_t stride = activation_stride(weights.cols),
               blocks = panel_blocks(format, weights.cols);
  for (size_t t = 0; t < x.tokens; ++t) y[t][row] = 0;
  for (size_t b = 0; b < blocks; ++b) {
    const RowBlock w = row_block(format, panel, b, row % kPanelRows);
    for (size_t t = 0; t < x.tokens; ++t) {
      float& acc = y[t][row];
      acc = add_block(format, w, records[t * stride + b], acc);
    }
  }
}

void matmul_float(const PackedMatrix& weights, const Activations& x, size_t row,
                  const std::byte* panel, Rows<float> y) {
  const size_t bytes = weights.type == DType::kF32 ? 4 : 2;
  for (size_t t = 0; t < x.tokens; ++t) {
    float chain[2] = {0, 0};
    for (size_t k = 0; k < weights.cols; ++k) {
      float w;
      dequantize_row(weights.type, panel + (k * kPanelRows + row % kPanelRows) * bytes, 1, &w);
      chain[k % 2] = std::fma(w, x.values[t * x.stride + k], chain[k % 2]);
    }
    y[t][row] = chain[0] + chain[1];
  }
}

void matmul_scalar(const PackedMatrix& weights, const Activations& x, Range panels, Rows<float> y,
                   std::byte*) {
  const size_t panel_bytes = packed_panel_bytes(weights.type, weights.cols);
  const auto product = takes_quantized_activations(weights.type) ? matmul_quantized : matmul_float;
  const size_t end = std::min<size_t>(panels.end * kPanelRows, weights.rows);
  for (size_t row = panels.begin * kPanelRows; row < end; ++row) {
    product(weights, x, row, weights.data + row / kPanelRows * panel_bytes, y);
  }
}

}  // namespace

MatmulKernel matmul_kernel_scalar() { return matmul_scalar; }

}  // namespace altlas::ops
