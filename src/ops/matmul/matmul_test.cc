#include "ops/matmul/matmul.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "ops/dequantize/dequantize.h"
#include "ops/matmul/activation.h"
#include "ops/matmul/kernels.h"
#include "ops/matmul/test_matrix.h"
#include "ops/quantize/quantize.h"
#include "ops/simd.h"
#include "tensor/half.h"
#include "testing/data.h"

namespace altlas::ops {
namespace {

constexpr DType kFloats[] = {DType::kF32, DType::kF16, DType::kBF16};
constexpr size_t kBatches[] = {1, 2, 3, 4, 7, 8, 16, 24, 25, 33, 64, 100};

// Restores the target at the end of a scope.
class ScopedTarget {
 public:
  explicit ScopedTarget(SimdTarget target) : before_(simd_target()) {
    set_simd_target(target).value();
  }
  ~ScopedTarget() { set_simd_target(before_).value(); }

 private:
  SimdTarget before_;
};

// Returns the targets that promise equal bits.
std::vector<SimdTarget> exact_targets() {
  std::vector<SimdTarget> targets;
  for (const SimdTarget t : simd_targets()) {
    if (simd_supported(t) && simd_keeps_bits(t)) targets.push_back(t);
  }
  return targets;
}

constexpr float kUntouched = -12345.0f;

std::vector<float> product(Matrix& w, Input& x, size_t tokens, size_t begin, size_t end) {
  Bytes scratch(matmul_scratch_bytes(w.view.type));
  std::vector<float> y(tokens * w.view.rows, kUntouched);
  matmul(w.view, x.view(tokens), {begin, end}, {y.data(), tokens, w.view.rows}, scratch.data());
  return y;
}

// Goal: packing keeps the bits. Method: unpack_row of every row against the readable dequantising,
// with a ragged last panel.
TEST(MatmulPack, UnpackRowIsExact) {
  for (const DType type : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ4_0, DType::kQ4_1,
                           DType::kQ5_0, DType::kQ5_1, DType::kQ8_0, DType::kQ2_K, DType::kQ3_K,
                           DType::kQ4_K, DType::kQ5_K, DType::kQ6_K}) {
    const size_t unit = dtype_info(type).block_values;
    for (const size_t cols : {unit, 3 * unit, 8 * unit, 75 * unit}) {
      SCOPED_TRACE(name_of(type) + " cols=" + std::to_string(cols));
      ASSERT_TRUE(matmul_supports(type, cols));
      Matrix w(type, 19, cols, 7);
      std::vector<float> want(cols), got(cols);
      for (size_t r = 0; r < 19; ++r) {
        dequantize_row(type, w.row_major.data() + r * row_bytes(type, cols), cols, want.data());
        unpack_row(w.view, r, got.data());
        ASSERT_TRUE(testing::same_bits(got, want)) << "row " << r;
      }
    }
  }
  EXPECT_FALSE(matmul_supports(DType::kQ4_K, 128));
  EXPECT_FALSE(matmul_supports(DType::kQ8_0, 48));
  EXPECT_FALSE(matmul_supports(DType::kI32, 64));
  EXPECT_FALSE(matmul_supports(DType::kF32, 0));
}

// Goal: panels can be packed in any pieces. Method: one by one, in reverse, against all at once.
TEST(MatmulPack, RangesAreIndependent) {
  for (const DType type : {DType::kQ5_0, DType::kQ6_K, DType::kF16}) {
    Matrix w(type, 70, 256, 3);
    const size_t bytes = packed_bytes(type, 70, 256);
    Bytes pieces(bytes);
    for (size_t p = panel_count(70); p-- > 0;) {
      pack_panels({type, 70, 256, w.row_major.data()}, {p, p + 1}, pieces.data());
    }
    EXPECT_EQ(std::memcmp(pieces.data(), w.packed.data(), bytes), 0) << name_of(type);
  }
}

// Goal: the product is right. Method: doubles over dequantised weights and dequantised activations.
TEST(Matmul, NearDoublePrecision) {
  std::vector<DType> types(std::begin(kQuantized), std::end(kQuantized));
  types.insert(types.end(), std::begin(kFloats), std::end(kFloats));
  for (const DType type : types) {
    SCOPED_TRACE(name_of(type));
    const size_t rows = 37, cols = 768, tokens = 3;
    Matrix w(type, rows, cols, 11);
    Input x(type, tokens, cols, 12);
    const std::vector<float> got = product(w, x, tokens, 0, panel_count(rows));
    const auto* records = reinterpret_cast<const ActivationBlock*>(x.quantized.data());
    std::vector<float> row(cols);
    for (size_t r = 0; r < rows; ++r) {
      dequantize_row(type, w.row_major.data() + r * row_bytes(type, cols), cols, row.data());
      for (size_t t = 0; t < tokens; ++t) {
        double want = 0, magnitude = 0;
        for (size_t k = 0; k < cols; ++k) {
          const ActivationBlock& a = records[t * activation_stride(cols) + k / 32];
          const double value = takes_quantized_activations(type)
                                   ? double{a.scale} * a.quants[k % 32]
                                   : double{x.x[t * x.stride + k]};
          want += row[k] * value;
          magnitude += std::abs(row[k] * value);
        }
        ASSERT_NEAR(got[t * rows + r], want, 2e-6 * magnitude) << "row " << r << " token " << t;
      }
    }
  }
}

// Goal: every target, batch size and range of panels gives the reference's bits. Method: the
// reference's product of all tokens, then each target over every batch size, whole and in two
// ranges; rows that are no multiple of 16, columns that leave padding blocks and several chunks.
void expect_same_bits(DType type, size_t rows, size_t cols) {
  SCOPED_TRACE(name_of(type) + " rows=" + std::to_string(rows) + " cols=" + std::to_string(cols));
  const size_t most = std::ranges::max(kBatches);
  Matrix w(type, rows, cols, rows + cols);
  Input x(type, most, cols, 21);
  std::vector<float> want;
  {
    const ScopedTarget scope(SimdTarget::kScalar);
    want = product(w, x, most, 0, panel_count(rows));
  }
  for (const SimdTarget target : exact_targets()) {
    const ScopedTarget scope(target);
    for (const size_t tokens : kBatches) {
      SCOPED_TRACE(std::string(to_string(target)) + " tokens=" + std::to_string(tokens));
      std::vector<float> y = product(w, x, tokens, 0, panel_count(rows));
      ASSERT_TRUE(testing::same_bits(y, std::span(want).first(tokens * rows)));
      const size_t middle = panel_count(rows) / 2;
      y = product(w, x, tokens, middle, panel_count(rows));
      for (size_t i = 0; i < y.size(); ++i) {
        ASSERT_EQ(y[i], i % rows < middle * kPanelRows ? kUntouched : want[i]) << "index " << i;
      }
    }
  }
}

TEST(Matmul, QuantizedTargetsGiveTheReferenceBits) {
  for (const DType type : kQuantized) {
    const size_t unit = dtype_info(type).block_values;
    expect_same_bits(type, 16, unit);
    expect_same_bits(type, 53, 3 * unit);
    expect_same_bits(type, 40, 1280);
  }
  for (const DType type : {DType::kQ5_0, DType::kQ8_0, DType::kQ4_K, DType::kQ6_K})
    expect_same_bits(type, 35, 2816);
}

// Goal: the same holds if tokens and panels come in several blocks. Method: columns that stay whole
// in the cache and columns that do not, more than 256 tokens, more than 32 panels, ranges of an odd
// number of panels.
TEST(Matmul, BlocksOfTokensAndPanelsGiveTheReferenceBits) {
  const size_t rows = 35 * kPanelRows + 5, tokens = 300, middle = 33;
  const std::pair<DType, size_t> shapes[] = {
      {DType::kQ5_0, 896}, {DType::kQ8_0, 1152}, {DType::kQ4_K, 1280}, {DType::kQ6_K, 1280}};
  for (const auto& [type, cols] : shapes) {
    SCOPED_TRACE(name_of(type));
    Matrix w(type, rows, cols, 3);
    Input x(type, tokens, cols, 4);
    std::vector<float> want;
    {
      const ScopedTarget scope(SimdTarget::kScalar);
      want = product(w, x, tokens, 0, panel_count(rows));
    }
    for (const SimdTarget target : exact_targets()) {
      if (target == SimdTarget::kScalar) continue;
      SCOPED_TRACE(to_string(target));
      const ScopedTarget scope(target);
      const std::vector<float> low = product(w, x, tokens, 0, middle),
                               high = product(w, x, tokens, middle, panel_count(rows));
      for (size_t i = 0; i < want.size(); ++i) {
        const bool first = i % rows < middle * kPanelRows;
        ASSERT_EQ((first ? low : high)[i], want[i]) << "index " << i;
        ASSERT_EQ((first ? high : low)[i], kUntouched) << "index " << i;
      }
    }
  }
}

TEST(Matmul, FloatTargetsGiveTheReferenceBits) {
  for (const DType type : kFloats) {
    for (const size_t cols : {1, 2, 31, 64, 515}) expect_same_bits(type, 37, cols);
  }
}

// Goal: the largest sums stay exact. Method: codes and quants at their extremes, Q8_0 at -128 and
// 127, against the reference.
TEST(Matmul, ExtremeCodesAreExact) {
  for (const DType type : kQuantized) {
    for (const uint8_t fill : {0x00, 0x80, 0x7f, 0xff}) {
      SCOPED_TRACE(name_of(type) + " fill=" + std::to_string(fill));
      const size_t rows = 32, cols = 512, tokens = 33;
      std::vector<std::byte> raw(rows * row_bytes(type, cols), std::byte{fill});
      for (size_t b = 0; b < raw.size(); b += dtype_info(type).block_bytes) {
        for (const size_t at : half_fields(type))
          std::memcpy(raw.data() + b + at, "\x00\x3c", 2);  // 1.0 as a half.
      }
      Matrix w(type, rows, cols, raw);
      Input x(type, tokens, cols, 1);
      for (size_t i = 0; i < x.x.size(); ++i)
        x.x[i] = i / x.stride % 2 != 0 && i % 3 == 0 ? -1.0f : 1.0f;
      quantize_rows({x.x.data(), tokens, x.stride}, cols, {0, tokens}, x.quantized.data());
      std::vector<float> want;
      for (const SimdTarget target : exact_targets()) {
        const ScopedTarget scope(target);
        for (const size_t batch : {size_t{2}, tokens}) {
          const std::vector<float> y = product(w, x, batch, 0, 2);
          if (want.empty()) want = product(w, x, tokens, 0, 2);
          ASSERT_TRUE(testing::same_bits(y, std::span(want).first(y.size()))) << to_string(target);
        }
      }
      if (type == DType::kQ8_0) {
        EXPECT_NEAR(want[0], 512.0f * static_cast<int8_t>(fill), 0.01f);
      }
    }
  }
}

// Goal: extreme scales give the same result everywhere: a subnormal f16 exactly, an infinity as
// infinity or NaN.
TEST(Matmul, ExtremeScales) {
  for (const DType type : kQuantized) {
    for (const uint16_t half : {0x0001, 0x83ff, 0x7bff, 0x7c00}) {
      SCOPED_TRACE(name_of(type) + " half=" + std::to_string(half));
      const size_t rows = 20, cols = 256, tokens = 26;
      std::vector<std::byte> raw = random_weights(type, rows, cols, 9);
      for (size_t b = 0; b < raw.size(); b += dtype_info(type).block_bytes) {
        for (const size_t at : half_fields(type)) std::memcpy(raw.data() + b + at, &half, 2);
      }
      Matrix w(type, rows, cols, raw);
      Input x(type, tokens, cols, 2);
      std::vector<float> want;
      for (const SimdTarget target : exact_targets()) {
        const ScopedTarget scope(target);
        const std::vector<float> y = product(w, x, tokens, 0, 2);
        if (want.empty()) want = y;
        for (size_t i = 0; i < y.size(); ++i) {
          ASSERT_EQ(std::isnan(y[i]), std::isnan(want[i])) << to_string(target) << " index " << i;
          if (std::isnan(y[i])) continue;
          ASSERT_EQ(y[i], want[i]) << to_string(target) << " index " << i;
        }
      }
    }
  }
}

// Goal: bad activations show. Method: one NaN makes its token's row NaN, and no other.
TEST(Matmul, NanStaysInItsToken) {
  for (const SimdTarget target : exact_targets()) {
    const ScopedTarget scope(target);
    for (const DType type : {DType::kQ5_0, DType::kQ4_K, DType::kQ6_K, DType::kF16}) {
      Matrix w(type, 16, 256, 4);
      Input x(type, 3, 256, 2);
      x.x[x.stride + 40] = std::nanf("");
      quantize_rows({x.x.data(), 3, x.stride}, 256, {0, 3}, x.quantized.data());
      const std::vector<float> y = product(w, x, 3, 0, 1);
      for (size_t i = 0; i < y.size(); ++i)
        EXPECT_EQ(std::isnan(y[i]), i / 16 == 1) << to_string(target);
    }
  }
}

// Goal: outputs go where the caller's stride says and nowhere else. Method: a wide y with a guard
// between rows.
TEST(Matmul, KeepsToTheOutputStride) {
  for (const SimdTarget target : exact_targets()) {
    const ScopedTarget scope(target);
    for (const DType type : {DType::kQ8_0, DType::kF32}) {
      const size_t rows = 21, cols = 64, tokens = 45, stride = 50;
      Matrix w(type, rows, cols, 4);
      Input x(type, tokens, cols, 2);
      const std::vector<float> want = product(w, x, tokens, 0, 2);
      Bytes scratch(matmul_scratch_bytes(type));
      std::vector<float> y(tokens * stride, kUntouched);
      matmul(w.view, x.view(tokens), {0, 2}, {y.data() + 3, tokens, stride}, scratch.data());
      for (size_t i = 0; i < y.size(); ++i) {
        const size_t token = i / stride, r = i % stride;
        const bool inside = r >= 3 && r < 3 + rows;
        ASSERT_EQ(y[i], inside ? want[token * rows + r - 3] : kUntouched) << to_string(target);
      }
    }
  }
}

// Goal: the products of AVX-512 BF16 are right and as steady as the others, though their bits are
// their own. Method: doubles over activations rounded to bfloat16 (a single-precision sum away) and
// the reference (a bfloat16 rounding away); the same bits for every batch and range; odd columns,
// several chunks, ragged rows; weights of other types keep the reference's bits.
TEST(MatmulBf16, NearTheReferenceAndSteady) {
  if (!simd_supported(SimdTarget::kAvx512Bf16)) GTEST_SKIP() << "this CPU has no AVX-512 BF16";
  const ScopedTarget scope(SimdTarget::kAvx512Bf16);
  const size_t rows = 53, most = std::ranges::max(kBatches);
  for (const size_t cols : {1, 2, 31, 64, 224, 226, 515, 4100}) {
    SCOPED_TRACE("cols=" + std::to_string(cols));
    Matrix w(DType::kBF16, rows, cols, cols);
    Input x(DType::kBF16, most, cols, 22);
    const std::vector<float> want = product(w, x, most, 0, panel_count(rows));
    std::vector<float> exact;
    {
      const ScopedTarget reference(SimdTarget::kScalar);
      exact = product(w, x, most, 0, panel_count(rows));
    }
    std::vector<float> row(cols);
    for (size_t r = 0; r < rows; ++r) {
      unpack_row(w.view, r, row.data());
      for (size_t t = 0; t < most; ++t) {
        double sum = 0, magnitude = 1e-30;
        for (size_t k = 0; k < cols; ++k) {
          const float value = float_from_bf16(bf16_from_float(x.x[t * x.stride + k]));
          sum += double{row[k]} * value;
          magnitude += std::abs(double{row[k]} * value);
        }
        ASSERT_NEAR(want[t * rows + r], sum, 2e-6 * magnitude) << "row " << r << " token " << t;
        ASSERT_NEAR(want[t * rows + r], exact[t * rows + r], 0x1p-8 * magnitude);
      }
    }
    for (const size_t tokens : kBatches) {
      SCOPED_TRACE("tokens=" + std::to_string(tokens));
      std::vector<float> y = product(w, x, tokens, 0, panel_count(rows));
      ASSERT_TRUE(testing::same_bits(y, std::span(want).first(tokens * rows)));
      y = product(w, x, tokens, 1, 3);
      for (size_t i = 0; i < y.size(); ++i) {
        const bool inside = i % rows >= kPanelRows && i % rows < 3 * kPanelRows;
        ASSERT_EQ(y[i], inside ? want[i] : kUntouched) << "index " << i;
      }
    }
  }
  for (const DType type : {DType::kF32, DType::kF16, DType::kQ4_K}) {
    Matrix w(type, 20, 256, 1);
    Input x(type, 9, 256, 2);
    const std::vector<float> y = product(w, x, 9, 0, 2);
    const ScopedTarget reference(SimdTarget::kScalar);
    EXPECT_TRUE(testing::same_bits(y, product(w, x, 9, 0, 2))) << name_of(type);
  }
}

// Goal: sums that wait for the next columns come back to their own panels. Method: more panels and
// columns than are multiplied at a time, whole and in ranges of panels that one turn holds.
TEST(MatmulBf16, PanelsThatTakeTurnsKeepTheirSums) {
  if (!simd_supported(SimdTarget::kAvx512Bf16)) GTEST_SKIP() << "this CPU has no AVX-512 BF16";
  const ScopedTarget scope(SimdTarget::kAvx512Bf16);
  const size_t rows = 1100, cols = 1501, tokens = 100;
  Matrix w(DType::kBF16, rows, cols, 8);
  Input x(DType::kBF16, tokens, cols, 9);
  const std::vector<float> all = product(w, x, tokens, 0, panel_count(rows));
  for (const auto [begin, end] : {std::pair{0, 31}, {31, 33}, {33, 69}}) {
    const std::vector<float> y = product(w, x, tokens, begin, end);
    for (size_t i = 0; i < y.size(); ++i) {
      const size_t panel = i % rows / kPanelRows;
      const bool inside = panel >= static_cast<size_t>(begin) && panel < static_cast<size_t>(end);
      ASSERT_EQ(y[i], inside ? all[i] : kUntouched) << "index " << i;
    }
  }
}

// Goal: bad activations show in these products too, in their token alone. Method: a NaN and an
// infinity, few and many tokens.
TEST(MatmulBf16, NanStaysInItsToken) {
  if (!simd_supported(SimdTarget::kAvx512Bf16)) GTEST_SKIP() << "this CPU has no AVX-512 BF16";
  const ScopedTarget scope(SimdTarget::kAvx512Bf16);
  for (const size_t tokens : {size_t{3}, size_t{30}}) {
    Matrix w(DType::kBF16, 16, 300, 4);
    Input x(DType::kBF16, tokens, 300, 2);
    x.x[x.stride + 299] = std::nanf("");
    x.x[2 * x.stride + 7] = std::numeric_limits<float>::infinity();
    const std::vector<float> y = product(w, x, tokens, 0, 1);
    for (size_t i = 0; i < y.size(); ++i) {
      EXPECT_EQ(std::isnan(y[i]), i / 16 == 1) << i;
      EXPECT_EQ(std::isinf(y[i]), i / 16 == 2) << i;
    }
  }
}

// Goal: the choice of a target also limits Highway's dispatch. Method: what Highway reports as
// supported.
TEST(Simd, RestrictsHighway) {
  const int64_t avx2_and_up = HWY_AVX2 | HWY_AVX3 | HWY_AVX3_DL;
  {
    const ScopedTarget scope(SimdTarget::kScalar);
    EXPECT_EQ(hwy::SupportedTargets() & (avx2_and_up | HWY_SSE4 | HWY_SSSE3), 0);
  }
  if (!simd_supported(SimdTarget::kAvx2)) GTEST_SKIP() << "this CPU has no AVX2";
  for (const SimdTarget target : {SimdTarget::kAvx2, SimdTarget::kAvxVnni}) {
    if (!simd_supported(target)) continue;
    const ScopedTarget scope(target);
    EXPECT_EQ(hwy::SupportedTargets() & avx2_and_up, HWY_AVX2) << to_string(target);
  }
}

// Goal: a name that is unknown or not for this machine is refused together with those that are.
// Method: all names; each is in the message, on the side where it belongs.
TEST(Simd, NamesRoundTripAndOthersAreRefused) {
  for (const SimdTarget target : simd_targets()) {
    SCOPED_TRACE(std::string(to_string(target)));
    EXPECT_EQ(parse_simd_target(to_string(target)).value(), target);
    const ScopedTarget scope(simd_target());
    const Result<void> set = set_simd_target(target);
    ASSERT_EQ(set.ok(), simd_supported(target));
    if (set.ok()) {
      EXPECT_EQ(simd_target(), target);
    } else {
      EXPECT_EQ(set.error().code(), ErrorCode::kUnsupported);
      EXPECT_NE(set.error().message().find("it can run " + supported_simd_targets()),
                std::string::npos)
          << set.error().message();
    }
  }
  for (const std::string name : {"avx1024", "", "AVX2", "avx512", "neon ", "scalar, avx2"}) {
    const auto parsed = parse_simd_target(name);
    ASSERT_FALSE(parsed.ok()) << name;
    EXPECT_EQ(parsed.error().code(), ErrorCode::kInvalid);
    for (const SimdTarget target : simd_targets())
      EXPECT_NE(parsed.error().message().find(to_string(target)), std::string::npos) << name;
  }
}

// Goal: no target that changes bits is chosen unasked.
TEST(Simd, TheDefaultKeepsTheBits) { EXPECT_TRUE(simd_keeps_bits(simd_target())); }

// Goal: whoever chooses a target with bits of its own is told so, with its name, and nobody else
// is.
TEST(Simd, TargetsWithOtherBitsSaySo) {
  for (const SimdTarget target : simd_targets()) {
    const std::string name(to_string(target)), notice = simd_notice(target);
    const bool other = name == "avx512_bf16" || name == "amx_bf16";
    EXPECT_EQ(simd_keeps_bits(target), !other) << name;
    EXPECT_EQ(notice.empty(), !other) << name;
    if (other) {
      EXPECT_TRUE(notice.find("target " + name + " leaves the promise") != notice.npos) << notice;
    }
  }
}

}  // namespace
}  // namespace altlas::ops
