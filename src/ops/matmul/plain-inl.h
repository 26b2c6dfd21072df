// The vector operations of the products as loops: for tests of what is written over them, on any
// machine. Included inside a namespace, before kernels-inl.h.
#pragma once

struct Simd {
  struct Codes {
    uint8_t v[64];
  };
  struct Ints {
    int32_t v[16];
  };
  struct Floats {
    float v[16];
  };
  struct Partial {};
  static constexpr bool kSignedBytes = false;
  static constexpr size_t kRawColumns = 2;
  static constexpr size_t kUnpackedPanels = 1;
  static constexpr size_t kUnpackedColumns = 2;
  static constexpr size_t kUnpackedColumnsOfHalves = 2;
  static constexpr size_t kFloatColumns = 2;
  static constexpr size_t raw_tokens(const PanelFormat&) { return 16; }
  static constexpr size_t run_length(unsigned) { return 8; }

  static Codes load_codes(const std::byte* at) {
    Codes out;
    std::memcpy(out.v, at, sizeof out);
    return out;
  }
  static void store_codes(std::byte* at, Codes v) { std::memcpy(at, v.v, sizeof v); }
  static Codes bytes(Codes v) { return v; }
  static Codes bit_and(Codes v, int mask) {
    for (uint8_t& byte : v.v) byte = static_cast<uint8_t>(byte & mask);
    return v;
  }
  static Codes bit_or(Codes a, const Codes& b) {
    for (int i = 0; i < 64; ++i) a.v[i] |= b.v[i];
    return a;
  }
  template <int N>
  static Codes shift_right(Codes v) {
    for (uint8_t& byte : v.v) byte = static_cast<uint8_t>(byte >> N);
    return v;
  }
  template <int N>
  static Codes shift_left(Codes v) {
    for (uint8_t& byte : v.v) byte = static_cast<uint8_t>(byte << N);
    return v;
  }
  static Codes set1_quad(const int8_t* quants) {
    Codes out;
    for (int i = 0; i < 64; i += 4) std::memcpy(out.v + i, quants, 4);
    return out;
  }
  template <bool kFirst, bool kLast, bool kBytes>
  static void dot(Ints& sum, Partial&, const Codes& codes, const Codes& quants) {
    for (int i = 0; i < 64; ++i) sum.v[i / 4] += codes.v[i] * static_cast<int8_t>(quants.v[i]);
  }

  static Ints zero_ints() { return {}; }
  static Ints set1_int(const int32_t* at) {
    Ints out;
    for (int32_t& lane : out.v) lane = *at;
    return out;
  }
  static Ints load_ints(const int32_t* at) {
    Ints out;
    std::memcpy(out.v, at, sizeof out);
    return out;
  }
  static Ints add_ints(Ints a, const Ints& b) {
    for (int i = 0; i < 16; ++i) a.v[i] += b.v[i];
    return a;
  }
  template <int N>
  static Ints halve(Ints v) {
    for (int32_t& lane : v.v) lane >>= N;
    return v;
  }
  static Floats to_floats(const Ints& v) {
    Floats out;
    for (int i = 0; i < 16; ++i) out.v[i] = static_cast<float>(v.v[i]);
    return out;
  }

  static Floats zero() { return {}; }
  static Floats set1(float value) {
    Floats out;
    for (float& lane : out.v) lane = value;
    return out;
  }
  static Floats load(const float* at) {
    Floats out;
    std::memcpy(out.v, at, sizeof out);
    return out;
  }
  static Floats loadu(const float* at) { return load(at); }
  static void store(float* at, const Floats& v) { std::memcpy(at, v.v, sizeof v); }
  static void store_rows(float* at, const Floats& v, size_t rows) {
    std::memcpy(at, v.v, rows * sizeof(float));
  }
  static Floats add(Floats a, const Floats& b) {
    for (int i = 0; i < 16; ++i) a.v[i] += b.v[i];
    return a;
  }
  static Floats mul(Floats a, const Floats& b) {
    for (int i = 0; i < 16; ++i) a.v[i] *= b.v[i];
    return a;
  }
  static Floats fma(Floats a, const Floats& b, const Floats& c) {
    for (int i = 0; i < 16; ++i) a.v[i] = std::fma(a.v[i], b.v[i], c.v[i]);
    return a;
  }
  static Floats negate(Floats v) {
    for (float& lane : v.v) lane = -lane;
    return v;
  }

  static Floats load_f16(const std::byte* at) {
    Floats out;
    for (int i = 0; i < 16; ++i) {
      uint16_t half;
      std::memcpy(&half, at + 2 * i, 2);
      out.v[i] = float_from_f16(half);
    }
    return out;
  }
  static Floats load_i8(const std::byte* at) {
    Floats out;
    for (int i = 0; i < 16; ++i) out.v[i] = static_cast<float>(static_cast<int8_t>(at[i]));
    return out;
  }
  static void nibbles(const std::byte* at, Floats& low, Floats& high) {
    for (int i = 0; i < 16; ++i) {
      low.v[i] = static_cast<float>(static_cast<int>(at[i]) & 15);
      high.v[i] = static_cast<float>(static_cast<int>(at[i]) >> 4);
    }
  }
  // PanelScales::kSixBit: the two fields of block `index`, plus kOffset.
  template <int kOffset>
  static void six_bits(const std::byte* at, size_t index, Floats& first, Floats& second) {
    for (size_t i = 0; i < 16; ++i) {
      const int low = static_cast<int>(at[16 * index + i]),
                high = static_cast<int>(at[128 + 16 * (index % 4) + i]) >> (index / 4 * 4);
      first.v[i] = static_cast<float>(((low & 15) | (high & 3) << 4) + kOffset);
      second.v[i] = static_cast<float>((low >> 4 | (high >> 2 & 3) << 4) + kOffset);
    }
  }
  template <DType T>
  static Floats load_weights(const std::byte* at) {
    if constexpr (T == DType::kF32) return load(reinterpret_cast<const float*>(at));
    if constexpr (T == DType::kF16) return load_f16(at);
    Floats out;
    for (int i = 0; i < 16; ++i) {
      uint16_t narrow;
      std::memcpy(&narrow, at + 2 * i, 2);
      out.v[i] = float_from_bf16(narrow);
    }
    return out;
  }
};
