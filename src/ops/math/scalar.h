// Own exponential, logarithm and sine: the same bits on every machine, unlike a C library's.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace altlas::ops {

// Constants of exp(x) = 2^n * e^r, shared with the vector form (math-inl.h). Polynomial of e^r:
// Cephes library, expf.
inline constexpr float kExpMin = -87.3f;  // Below it the answer is 0.
inline constexpr float kExpMax = 88.3f;   // Above it the answer stays at exp(88.3).
inline constexpr float kLog2e = 1.44269504088896341f;
// 1.5 * 2^23: adding it rounds to an integer, ties to even.
inline constexpr float kRoundMagic = 12582912.0f;
inline constexpr float kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
inline constexpr float kExpPoly[] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                                     4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};

// e^x within 2 ulp for x in [kExpMin, kExpMax]; 0 below, NaN for NaN.
inline float exp_f32(float x) {
  if (!(x >= kExpMin)) return x < kExpMin ? 0.0f : x;
  const float c = x > kExpMax ? kExpMax : x;
  const float n = std::fma(c, kLog2e, kRoundMagic) - kRoundMagic;
  const float r = std::fma(n, -kLn2Low, std::fma(n, -kLn2High, c));
  float p = kExpPoly[0];
  for (int i = 1; i < 6; ++i) p = std::fma(p, r, kExpPoly[i]);
  p = std::fma(p, r * r, r) + 1.0f;
  return p * std::bit_cast<float>((static_cast<int32_t>(n) + 127) << 23);
}

// Natural logarithm of a positive, normal, finite x, within 1e-13 relative to max(1, |log x|).
inline double log_f64(double x) {
  const auto bits = std::bit_cast<uint64_t>(x);
  int exponent = static_cast<int>(bits >> 52 & 0x7ff) - 1023;
  // [1, 2)
  double m = std::bit_cast<double>((bits & ~(uint64_t{0x7ff} << 52)) | uint64_t{1023} << 52);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    ++exponent;
  }
  const double t = (m - 1.0) / (m + 1.0), t2 = t * t;  // log m = 2 atanh t, |t| < 0.172
  double sum = 0.0;
  for (int k = 19; k >= 1; k -= 2) sum = sum * t2 + 1.0 / k;
  return 2.0 * t * sum + exponent * 0.69314718055994530942;
}

// pi/2 in three parts whose products with k are exact (Cody and Waite), shared with the vector form
// (rope_cpu.cc).
inline constexpr double kHalfPi[] = {0x1.921fb54p+0, 0x1.10b4610p-30, 0x1.a62633145c06ep-58};
inline constexpr double kTwoOverPi = 0.63661977236758134308;
inline constexpr double kSinCosMagic = 6755399441055744.0;  // 1.5 * 2^52

struct SinCos {
  double sin;
  double cos;
};
// For |x| < 2^30, within 1e-9 absolute (1e-13 for |x| < 2^20).
inline SinCos sin_cos_f64(double x) {
  const double k = (x * kTwoOverPi + kSinCosMagic) - kSinCosMagic;
  const double r = ((x - k * kHalfPi[0]) - k * kHalfPi[1]) - k * kHalfPi[2], r2 = r * r;
  double s = 0.0, c = 0.0;
  for (int i = 15; i >= 3; i -= 2) s = (1.0 - s) * r2 / (i * (i - 1));
  for (int i = 16; i >= 2; i -= 2) c = (1.0 - c) * r2 / (i * (i - 1));
  const double sine = r * (1.0 - s), cosine = 1.0 - c;
  switch (static_cast<int64_t>(k) & 3) {
    case 0:
      return {sine, cosine};
    case 1:
      return {cosine, -sine};
    case 2:
      return {-sine, -cosine};
    default:
      return {-cosine, sine};
  }
}

// IEEE half precision bits, nearest even; beyond the largest finite value it saturates (NaN stays
// NaN).
inline uint16_t f16_from_f32(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value), sign = bits >> 16 & 0x8000;
  uint32_t rest = bits & 0x7fffffff;
  if (rest > 0x7f800000) return static_cast<uint16_t>(sign | 0x7e00);
  if (rest >= 0x477ff000) return static_cast<uint16_t>(sign | 0x7bff);
  if (rest < 0x38800000) {  // Subnormal half: let float addition round at 2^-24.
    const float magic = std::bit_cast<float>(0x3f000000u);
    return static_cast<uint16_t>(
        sign | (std::bit_cast<uint32_t>(std::bit_cast<float>(rest) + magic) - 0x3f000000u));
  }
  rest += 0xfff + (rest >> 13 & 1);
  return static_cast<uint16_t>(sign | (rest - 0x38000000) >> 13);
}

// bfloat16 bits, nearest even.
inline uint16_t bf16_from_f32(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

}  // namespace altlas::ops
