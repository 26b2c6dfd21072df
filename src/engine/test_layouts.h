// What tests of layouts share: executors of a layout, and a run of plans whose answers are compared
// bit by bit.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "engine/cpu_executor.h"
#include "model/test_tiny_model.h"

namespace altlas::engine {

struct Layout {
  uint32_t ranks = 1;
  uint32_t threads = 1;  // The threads of each rank.
  std::vector<double> split = {};
  uint32_t stages = 1;
  PipelineSplit pipeline_split = PipelineSplit::kBalanced;
  uint32_t depth = 1;
  uint32_t expert_groups = 1;
};

inline std::string name_of(const Layout& layout) {
  std::string out = "TP" + std::to_string(layout.ranks) + "x" + std::to_string(layout.threads);
  for (const double share : layout.split) out += ":" + std::to_string(share);
  if (layout.stages > 1) out += " PP" + std::to_string(layout.stages);
  if (layout.expert_groups > 1) out += " EP" + std::to_string(layout.expert_groups);
  return out;
}

inline std::vector<CpuRankOptions> ranks_of(const Layout& layout, const model::LoadOptions& load) {
  std::vector<CpuRankOptions> out;
  for (uint32_t r = 0; r < layout.ranks * layout.stages; ++r) {
    CpuRankOptions rank;
    rank.device = {.kind = device::DeviceKind::kCpu,
                   .name = "cpu",
                   .memory_bytes = uint64_t{256} << 20,
                   .threads = layout.threads,
                   .cpu_first = r * layout.threads};
    rank.device_id = DeviceId{static_cast<int32_t>(r)};
    rank.load = load;
    rank.load.tensor_parallel_size = layout.ranks;
    rank.load.tensor_split = layout.split;
    rank.load.pipeline_parallel_size = layout.stages;
    rank.load.pipeline_split = layout.pipeline_split;
    rank.load.expert_parallel_size = layout.expert_groups;
    rank.load.executor_depth = layout.depth;
    rank.load.shard = model::shard_of_rank(rank.load, r);
    out.push_back(std::move(rank));
  }
  return out;
}

// All that a replica says: bit for bit comparable.
struct Said {
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;
  std::vector<float> embedding;
  std::vector<uint64_t> weight_bytes;  // By rank.
};

// Two sequences, one of which samples with penalties and reports log-probabilities; the other's
// prompt comes in chunks beside it and wants an embedding at its end. Blocks of the first leave for
// host memory and come back.
class Run {
 public:
  explicit Run(Executor& executor) : executor_(executor) {}

  Said all() {
    for (const replica::RankMemory& rank : executor_.limits().ranks)
      said_.weight_bytes.push_back(rank.weights);
    const auto first = request({3, 9, 27, 17, 51, 25, 11, 33}, true);
    start(0, first, 0);
    step({{.slot = 0, .tokens = first->prompt.tokens(), .samples = true, .prompt_logprobs = true}});
    std::vector<int32_t> long_prompt(90);
    std::iota(long_prompt.begin(), long_prompt.end(), 0);
    for (int32_t& id : long_prompt) id = id * 7 % 61;
    const auto second = request(long_prompt, false);
    start(1, second, 3);
    for (uint32_t at = 0, n = 0; at < long_prompt.size(); at += 37, ++n) {
      const auto end = std::min<size_t>(long_prompt.size(), at + 37);
      step(
          {next(8 + n),
           {.slot = 1,
            .position = at,
            .tokens = {long_prompt.begin() + at, long_prompt.begin() + static_cast<ptrdiff_t>(end)},
            .samples = end == long_prompt.size()}});
    }
    for (uint32_t n = 3; n < 8; ++n) {
      if (n == 5) move_block();
      step({next(8 + n)});
    }
    return std::move(said_);
  }

 private:
  std::shared_ptr<const SequenceRequest> request(std::vector<int32_t> prompt, bool samples) {
    SequenceRequest out{std::move(prompt), {}, {}};
    out.sampling.temperature = samples ? 0.9 : 0.0;
    out.sampling.seed = 5;
    if (samples) {
      out.sampling.top_p = 0.95;
      out.sampling.frequency_penalty = 0.3;
      out.sampling.logprobs = 4;
      out.sampling.prompt_logprobs = 2;
    }
    out.embeds = !samples;
    return std::make_shared<const SequenceRequest>(std::move(out));
  }
  StepEntry next(uint32_t position) const {
    return {.slot = 0,
            .position = position,
            .tokens = {pipelined ? latest_ : kTokenPending},
            .samples = true};
  }
  void start(int32_t slot, std::shared_ptr<const SequenceRequest> what, uint32_t block) {
    plan_.starts.push_back({slot, std::move(what)});
    SlotTables tables{.slot = slot, .changes = {}};
    for (uint32_t g = 0; g < executor_.limits().groups.size(); ++g) {
      kv::TableChange change{.group = g, .first_index = 0, .blocks = {}};
      for (uint32_t b = 0; b < (slot == 0 ? 3u : 6u); ++b) change.blocks.push_back({block + b});
      tables.changes.push_back(change);
    }
    plan_.tables.push_back(tables);
  }
  // The first sequence's first block goes to host memory and comes back as another.
  void move_block() {
    for (uint32_t g = 0; g < executor_.limits().groups.size(); ++g) {
      plan_.swap_out.push_back({.group = g, .block = BlockId{0}, .place = 1});
      plan_.swap_in.push_back({.group = g, .block = BlockId{10}, .place = 1});
      plan_.tables.push_back(
          {.slot = 0, .changes = {{.group = g, .first_index = 0, .blocks = {BlockId{10}}}}});
    }
  }
  void step(std::vector<StepEntry> entries) {
    plan_.entries = std::move(entries);
    executor_.launch(std::exchange(plan_, StepPlan{}));
    const auto result = executor_.collect();
    ASSERT_TRUE(result.ok()) << result.error().message();
    const auto take = [&](const TokenLogprobs& one) {
      said_.logprobs.push_back(one.logprob);
      for (const auto& [id, logprob] : one.top) {
        said_.tokens.push_back(id);
        said_.logprobs.push_back(logprob);
      }
    };
    for (const SampledToken& sampled : result->sampled) {
      said_.tokens.push_back(sampled.token);
      if (sampled.slot == 0) latest_ = sampled.token;
      take(sampled.logprobs);
      for (const TokenLogprobs& one : sampled.prompt_logprobs) take(one);
      said_.embedding.insert(said_.embedding.end(), sampled.embedding.begin(),
                             sampled.embedding.end());
    }
  }

 public:
  bool pipelined = false;  // Then the ranks of earlier stages do not know what was sampled.

 private:
  Executor& executor_;
  StepPlan plan_;
  int32_t latest_ = 0;
  Said said_;
};

inline Said answers(const Layout& layout, const model::LoadOptions& load) {
  auto executor = CpuExecutor::open(ranks_of(layout, load), layout.depth, {});
  EXPECT_TRUE(executor.ok()) << executor.error().message();
  if (!executor.ok()) return {};
  Run run(**executor);
  run.pipelined = layout.stages > 1;
  return run.all();
}

inline model::LoadOptions options(const std::string& path) {
  return {{.model_path = path,
           .swap_bytes = uint64_t{4} << 20,
           .sequences_max = 2,
           .step_tokens_max = 64,
           .kv_tokens_max = 16 * 16}};
}

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

inline void expect_same(const Said& got, const Said& want, const std::string& where) {
  EXPECT_EQ(got.tokens, want.tokens) << where;
  EXPECT_TRUE(same_bits(got.logprobs, want.logprobs)) << where;
  EXPECT_TRUE(same_bits(got.embedding, want.embedding)) << where;
}

}  // namespace altlas::engine
