// Philox4x32-10 counter-based random numbers: the draw is a function of (seed, counter), so it can
// be replayed from anywhere. Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
// SC11.
#pragma once

#include <array>
#include <cstdint>

namespace altlas {

// Four independent 32-bit words for one (seed, counter, stream).
constexpr std::array<uint32_t, 4> philox(uint64_t seed, uint64_t counter, uint64_t stream = 0) {
  std::array<uint32_t, 4> c{static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32),
                            static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)};
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * c[0], p1 = uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<uint32_t>(p0)};
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return c;
}

// Uniform in [0, 1), 24 bits.
constexpr float philox_uniform(uint64_t seed, uint64_t counter, uint64_t stream = 0) {
  return static_cast<float>(philox(seed, counter, stream)[0] >> 8) * 0x1p-24f;
}

// A small generator for simulations and `random` placement: state is (seed, counter), both can be
// saved.
struct PhiloxStream {
  uint64_t seed = 0;
  uint64_t counter = 0;
  uint64_t next() {
    const auto words = philox(seed, counter++, 0x5eed);
    return static_cast<uint64_t>(words[1]) << 32 | words[0];
  }
  // Uniform in [0, bound). bound ≥ 1. Lemire's multiply-shift; bias below 2^-32 for bounds below
  // 2^32.
  uint64_t below(uint64_t bound) {
    return static_cast<uint64_t>(static_cast<unsigned __int128>(next()) * bound >> 64);
  }
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }
};

}  // namespace altlas
