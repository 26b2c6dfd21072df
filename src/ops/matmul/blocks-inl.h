// Blocks of panels, packed and unpacked, and their products with a tile of tokens: included by
// kernels-inl.h, as that is by a target's .cc.
#pragma once

#include "ops/matmul/compile_for.h"

#define ALTLAS_INLINE __attribute__((always_inline)) inline

using Codes = Simd::Codes;
using Ints = Simd::Ints;
using Floats = Simd::Floats;

constexpr bool has_halves(const PanelFormat& f) {
  return f.scheme == BlockScheme::kHalfScale || f.scheme == BlockScheme::kHalfScaleMin;
}
// Float vectors of a block: s[0], s[1] with halves, n[0], n[1] with half mins.
constexpr size_t scale_vectors(const PanelFormat& f) { return has_halves(f) ? 2 : 1; }
constexpr size_t min_vectors(const PanelFormat& f) {
  if (f.scheme == BlockScheme::kHalfScaleMin) return 2;
  return f.scheme == BlockScheme::kScaleMin || f.scheme == BlockScheme::kSubScaleMin ? 1 : 0;
}
constexpr size_t unpacked_block_bytes(const PanelFormat& f) {
  return 512 + 64 * (scale_vectors(f) + min_vectors(f));
}

// Tokens of an unpacked tile.
constexpr size_t unpacked_columns(const PanelFormat& f) {
  return has_halves(f) ? Simd::kUnpackedColumnsOfHalves : Simd::kUnpackedColumns;
}

// As in matmul_scalar.cc: the s and n of 16 rows.
struct Params {
  Floats s[2];
  Floats n[2];
};

// d and m of a group, where all its blocks share them.
template <PanelFormat F>
struct GroupScales {
  explicit ALTLAS_INLINE GroupScales(const std::byte* group) {
    if constexpr (F.scales == PanelScales::kF16 || F.scales == PanelScales::kF16Min) return;
    d = Simd::load_f16(group);
    if constexpr (min_vectors(F) > 0) m = Simd::load_f16(group + 32);
  }
  Floats d, m;
};

// A block in its packed bits.
template <PanelFormat F>
struct PackedBlock {
  const std::byte* group;
  size_t index;
  const GroupScales<F>* shared;

  // Shifts bits at `from` (of each byte) to `to` and keeps `mask`; bits of neighbours are masked
  // away.
  template <int From, int To, int Mask>
  static ALTLAS_INLINE Codes field(Codes bits) {
    if constexpr (From > To)
      return Simd::bit_and(Simd::template shift_right<From - To>(bits), Mask);
    else if constexpr (From < To)
      return Simd::bit_and(Simd::template shift_left<To - From>(bits), Mask);
    else
      return Simd::bit_and(bits, Mask);
  }

  template <size_t G>
  ALTLAS_INLINE Codes vector() const {
    constexpr int g = G;
    const std::byte* line = group + F.scale_bytes() + index * F.code_bytes();
    const std::byte* plane = line + 64 * F.base;
    Codes low;
    if constexpr (F.base == 8) {
      low = Simd::bytes(Simd::load_codes(line + 64 * G));
    } else if constexpr (F.base == 4) {
      low = field<g / 4 * 4, 0, 15>(Simd::load_codes(line + 64 * (G % 4)));
    } else {
      low = field<g % 4 * 2, 0, 3>(Simd::load_codes(line + 64 * (G / 4)));
    }
    if constexpr (F.high == 1) {
      return Simd::bit_or(low, field<g, F.base, 1 << F.base>(Simd::load_codes(plane)));
    } else if constexpr (F.high == 2) {
      return Simd::bit_or(
          low, field<g % 4 * 2, F.base, 3 << F.base>(Simd::load_codes(plane + 64 * (G / 4))));
    } else {
      return low;
    }
  }

  ALTLAS_INLINE Params params() const {
    Params out;
    if constexpr (F.scales == PanelScales::kF16 || F.scales == PanelScales::kF16Min) {
      out.s[0] = Simd::load_f16(group + 32 * index);
      if constexpr (F.scales == PanelScales::kF16Min)
        out.n[0] = Simd::load_f16(group + 32 * (F.group_blocks + index));
    } else if constexpr (F.scales == PanelScales::kSixBit) {
      Floats scale, min;
      Simd::template six_bits<0>(group + 64, index, scale, min);
      out.s[0] = Simd::mul(shared->d, scale);
      out.n[0] = Simd::negate(Simd::mul(shared->m, min));
    } else if constexpr (F.scales == PanelScales::kSixBitHalves) {
      Simd::template six_bits<-32>(group + 64, index, out.s[0], out.s[1]);
      for (Floats& s : out.s) s = Simd::mul(shared->d, s);
    } else {
      for (size_t h = 0; h < 2; ++h) {
        const std::byte* at = group + 64 + 16 * (2 * index + h);
        if constexpr (F.scales == PanelScales::kByteHalves) {
          out.s[h] = Simd::mul(shared->d, Simd::load_i8(at));
        } else {
          Floats scale, min;
          Simd::nibbles(at, scale, min);
          out.s[h] = Simd::mul(shared->d, scale);
          out.n[h] = Simd::mul(Simd::mul(shared->m, min), Simd::set1(1.0f / 32));
        }
      }
    }
    return out;
  }
};

// A block that unpack_block wrote: eight vectors of codes, then s and n.
template <PanelFormat F>
struct UnpackedBlock {
  const std::byte* at;

  template <size_t G>
  ALTLAS_INLINE Codes vector() const {
    return Simd::load_codes(at + 64 * G);
  }
  ALTLAS_INLINE Params params() const {
    Params out;
    const auto* floats = reinterpret_cast<const float*>(at + 512);
    for (size_t h = 0; h < scale_vectors(F); ++h) out.s[h] = Simd::load(floats + 16 * h);
    for (size_t h = 0; h < min_vectors(F); ++h)
      out.n[h] = Simd::load(floats + 16 * (scale_vectors(F) + h));
    return out;
  }
};

template <PanelFormat F, size_t G = 0>
ALTLAS_INLINE void unpack_codes(const PackedBlock<F>& block, std::byte* out) {
  Simd::store_codes(out + 64 * G, block.template vector<G>());
  if constexpr (G + 1 < 8) unpack_codes<F, G + 1>(block, out);
}

template <PanelFormat F>
ALTLAS_INLINE void unpack_block(const PackedBlock<F>& block, std::byte* out) {
  unpack_codes<F>(block, out);
  const Params params = block.params();
  auto* floats = reinterpret_cast<float*>(out + 512);
  for (size_t h = 0; h < scale_vectors(F); ++h) Simd::store(floats + 16 * h, params.s[h]);
  for (size_t h = 0; h < min_vectors(F); ++h)
    Simd::store(floats + 16 * (scale_vectors(F) + h), params.n[h]);
}

// Where the integer sum of a block (or half) starts: -bias * sum of the quants.
template <PanelFormat F>
ALTLAS_INLINE Ints start_sum(const ActivationBlock& a, size_t half) {
  if constexpr (F.bias == 16)
    return Simd::set1_int(&a.minus_16_sum);
  else if constexpr (F.bias == 8)
    return Simd::template halve<1>(Simd::set1_int(&a.minus_16_sum));
  else if constexpr (F.bias == 32)
    return Simd::set1_int(&a.minus_32_sum[half]);
  else if constexpr (F.bias == 4)
    return Simd::template halve<3>(Simd::set1_int(&a.minus_32_sum[half]));
  else if constexpr (F.bias == 128 && !Simd::kSignedBytes)
    return Simd::set1_int(&a.minus_128_sum);
  else
    return Simd::zero_ints();
}

// sum[p][c] += codes of vectors [G, End) times the quants of column c.
template <PanelFormat F, size_t NP, size_t NC, size_t G, size_t End, class Block>
ALTLAS_INLINE void add_dots(const Block (&w)[NP], const ActivationBlock* a, size_t stride,
                            Ints (&sum)[NP][NC], Simd::Partial (&partial)[NP][NC]) {
  // Vectors whose narrow sums cannot overflow.
  constexpr size_t kSafe = Simd::run_length(F.max_code());
  constexpr size_t kRun = has_halves(F) && kSafe > 4 ? 4 : kSafe;
  Codes codes[NP];
  ALTLAS_UNROLL for (size_t p = 0; p < NP; ++p) codes[p] = w[p].template vector<G>();
  ALTLAS_UNROLL for (size_t c = 0; c < NC; ++c) {
    const Codes quants = Simd::set1_quad(a[c * stride].quants + 4 * G);
    ALTLAS_UNROLL for (size_t p = 0; p < NP; ++p) {
      Simd::template dot<G % kRun == 0, G % kRun == kRun - 1 || G + 1 == End, F.max_code() == 255>(
          sum[p][c], partial[p][c], codes[p], quants);
    }
  }
  if constexpr (G + 1 < End) add_dots<F, NP, NC, G + 1, End>(w, a, stride, sum, partial);
}

template <PanelFormat F, size_t NP, size_t NC, size_t G, size_t End, class Block>
ALTLAS_INLINE void dots(const Block (&w)[NP], const ActivationBlock* a, size_t stride,
                        Floats (&out)[NP][NC]) {
  Ints sum[NP][NC];
  Simd::Partial partial[NP][NC];
  ALTLAS_UNROLL for (size_t c = 0; c < NC; ++c) {
    const Ints start = start_sum<F>(a[c * stride], G / 4);
    ALTLAS_UNROLL for (size_t p = 0; p < NP; ++p) sum[p][c] = start;
  }
  add_dots<F, NP, NC, G, End>(w, a, stride, sum, partial);
  ALTLAS_UNROLL for (size_t p = 0; p < NP; ++p) {
    ALTLAS_UNROLL for (size_t c = 0; c < NC; ++c) out[p][c] = Simd::to_floats(sum[p][c]);
  }
}

// acc[p][c] += one block of panel p times column c, rounded as in matmul_scalar.cc.
template <PanelFormat F, size_t NP, size_t NC, class Block>
ALTLAS_INLINE void add_block(const Block (&w)[NP], const ActivationBlock* a, size_t stride,
                             Floats (&acc)[NP][NC]) {
  Floats t[NP][NC];
  if constexpr (has_halves(F)) {
    Floats second[NP][NC];
    dots<F, NP, NC, 0, 4>(w, a, stride, t);
    ALTLAS_UNROLL for (size_t p = 0; p < NP; ++p) {
      const Floats s = w[p].params().s[0];
      ALTLAS_UNROLL for (size_t c = 0; c < NC; ++c) t[p][c] = Simd::mul(t[p][c], s);
    }
    dots<F, NP, NC, 4, 8>(w, a, stride, second);
    ALTLAS_UNROLL for (size_t p = 0; p < NP; ++p) {
      const Params params = w[p].params();
      ALTLAS_UNROLL for (size_t c = 0; c < NC; ++c) {
        t[p][c] = Simd::fma(second[p][c], params.s[1], t[p][c]);
        if constexpr (F.scheme == BlockScheme::kHalfScaleMin) {
          const int32_t* sums = a[c * stride].minus_32_sum;
          t[p][c] = Simd::fma(Simd::to_floats(Simd::set1_int(sums)), params.n[0], t[p][c]);
          t[p][c] = Simd::fma(Simd::to_floats(Simd::set1_int(sums + 1)), params.n[1], t[p][c]);
        }
        acc[p][c] = Simd::fma(t[p][c], Simd::set1(a[c * stride].scale), acc[p][c]);
      }
    }
  } else {
    dots<F, NP, NC, 0, 8>(w, a, stride, t);
    ALTLAS_UNROLL for (size_t p = 0; p < NP; ++p) {
      const Params params = w[p].params();
      ALTLAS_UNROLL for (size_t c = 0; c < NC; ++c) {
        const ActivationBlock& column = a[c * stride];
        acc[p][c] = Simd::fma(Simd::mul(t[p][c], params.s[0]), Simd::set1(column.scale), acc[p][c]);
        if constexpr (min_vectors(F) == 1) {
          acc[p][c] = Simd::fma(Simd::set1(column.scaled_sum), params.n[0], acc[p][c]);
        }
      }
    }
  }
}
