// Measures a loaded executor: prefill, decode at several batch sizes, decode at a long context.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cli/roofs.h"
#include "engine/executor.h"
#include "model/op_clock.h"
#include "task/task.h"

namespace altlas::cli {

// How the decoding sequences choose their tokens.
struct BenchSampling {
  std::string name;  // As the user wrote it: "temperature=0.8,top_p=0.95"; "greedy".
  SamplingParams params;
};
// "greedy", or fields of SamplingParams with their values: "temperature=1,logprobs=5".
// Errors: kInvalid for a field that is not known, and a value out of range.
Result<BenchSampling> parse_bench_sampling(std::string_view text);

struct EngineBenchOptions {
  uint32_t prefill = 512;                      // Prompt tokens.
  std::vector<uint32_t> batches = {1, 4, 16};  // Sequences that decode together.
  uint32_t context = 4096;                     // Tokens before the long decode; 0: none.
  uint32_t tokens = 64;                        // Decoded by each sequence.
  uint32_t rounds = 3;
  // Every batch decodes once with each; the rest of the work is greedy.
  std::vector<BenchSampling> samplings = {{"greedy", {.temperature = 0}}};

  uint32_t sequences_max() const;
  uint32_t length_max() const;  // Tokens of the longest sequence.
  uint64_t kv_tokens() const;   // KV tokens of all sequences together, whole blocks of 16.
};

// One kind of work, over all rounds.
struct EngineWork {
  std::string name;             // "decode 4", "decode 4 temperature=1".
  uint32_t tokens = 0;          // The tokens of one round.
  uint64_t kv_bytes = 0;        // Bytes of keys and values read in one round.
  std::vector<double> seconds;  // The seconds of each round.
  model::OpTimes times;         // The times of all rounds.

  double best_tokens_per_s() const;
  double median_tokens_per_s() const;
  // Weights and KV read, and multiply-adds with weights, of one round.
  double bytes() const;
  double products() const;
};

// What the roof of a round would take for it over the time that it took, the median of the rounds,
// and which roof it is.
struct RoofShare {
  double share = 0;        // 0 where no roof was measured.
  std::string_view bound;  // "read" or "int8".
};
// round_roofs: of each round of the work.
RoofShare share_of_roof(const EngineWork& work, std::span<const Roofs> round_roofs);

struct EngineFigures {
  std::vector<EngineWork> works;
  std::vector<Roofs> round_roofs;  // Measured at the beginning of each round.
  Roofs roofs;                     // Best of all rounds.
};

// times: what the executor's rank adds to. say(what, 0 … 1): progress.
// Errors: those of the executor.
Result<EngineFigures> bench_engine(engine::Executor& executor, model::OpTimes& times,
                                   RoofMeter& meter, const EngineBenchOptions& options,
                                   const std::function<void(std::string_view, double)>& say);

}  // namespace altlas::cli
