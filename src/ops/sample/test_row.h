// A row of logits that lies in memory, sampled as a team of threads would. Only tests and benches
// include it.
#pragma once

#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "base/integers.h"
#include "ops/sample/row_sampler.h"

namespace altlas::ops {

class TestRow {
 public:
  explicit TestRow(size_t vocab, uint32_t threads = 1)
      : vocab_(vocab),
        threads_(threads),
        memory_(static_cast<std::byte*>(
                    std::aligned_alloc(64, (RowSampler::bytes(vocab, threads) + 63) / 64 * 64)),
                &std::free),
        sampler_(memory_.get(), vocab, threads) {}

  // Shares of runs for each thread, in pieces of this many runs.
  int32_t sample(std::span<const float> logits, const SampleAsk& ask, size_t piece_runs = 2) {
    sampler_.begin(ask);
    const size_t runs = ceil_div(vocab_, kSampleRun), piece = piece_runs * kSampleRun;
    piece_.resize(piece);
    for (uint32_t t = 0; t < threads_; ++t) {
      const size_t end = std::min(vocab_, runs * (t + 1) / threads_ * kSampleRun);
      for (size_t first = runs * t / threads_ * kSampleRun; first < end; first += piece) {
        const size_t count = std::min(piece, end - first);
        std::memcpy(piece_.data(), &logits[first], count * sizeof(float));
        sampler_.look(t, first, piece_.data(), count);
      }
    }
    if (!ask.samples) return -1;
    return sampler_.choose([&](size_t first, size_t count, float* out) {
      std::memcpy(out, &logits[first], count * sizeof(float));
    });
  }
  RowSampler& sampler() { return sampler_; }

 private:
  size_t vocab_;
  uint32_t threads_;
  std::unique_ptr<std::byte, decltype(&std::free)> memory_;
  RowSampler sampler_;
  std::vector<float> piece_;
};

}  // namespace altlas::ops
