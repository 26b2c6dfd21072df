#include "model/shard_plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"
#include "base/integers.h"
#include "ops/matmul/matmul.h"
#include "ops/sample/row_sampler.h"

namespace altlas::model {
namespace {

// Columns of a gated product that a thread makes at once: two records of quantised activations.
constexpr uint32_t kGatedUnit = 64;
// A rank with whole KV heads may have this much more than its share of them; beyond, ranks share
// the query heads of a KV head.
constexpr double kHeadsOverShare = 1.25;

// Where the shares cut 0 … 1: [ranks + 1].
std::vector<double> cuts_of(uint32_t ranks, std::span<const double> shares) {
  std::vector<double> cuts(ranks + 1, 0.0);
  const double total = shares.empty() ? ranks : std::accumulate(shares.begin(), shares.end(), 0.0);
  double sum = 0;
  for (uint32_t r = 0; r < ranks; ++r) {
    sum += shares.empty() ? 1.0 : shares[r];
    cuts[r + 1] = sum / total;
  }
  cuts[ranks] = 1;
  return cuts;
}

// Cuts `count` rows into whole units, the last of which may be smaller.
std::vector<ShardRange> cut(uint32_t count, uint32_t unit, std::span<const double> cuts) {
  const uint32_t units = ceil_div(count, unit);
  std::vector<ShardRange> out;
  uint32_t begin = 0;
  for (size_t r = 1; r < cuts.size(); ++r) {
    const auto whole = static_cast<uint32_t>(std::lround(cuts[r] * units));
    const uint32_t end = std::min(count, std::max(begin, whole * unit));
    out.push_back({begin, end});
    begin = end;
  }
  return out;
}

// Each rank has at least one: those with the least take from their neighbours' edges.
void give_each_one(uint32_t count, std::vector<ShardRange>& spans) {
  const auto ranks = static_cast<uint32_t>(spans.size());
  for (uint32_t r = 0; r < ranks; ++r) {
    spans[r].begin = r == 0 ? 0 : spans[r - 1].end;
    spans[r].end = std::clamp(spans[r].end, spans[r].begin + 1, count - (ranks - 1 - r));
  }
}

bool fair(std::span<const ShardRange> spans, uint32_t count, std::span<const double> cuts) {
  for (size_t r = 0; r < spans.size(); ++r) {
    const double share = (cuts[r + 1] - cuts[r]) * count;
    if (spans[r].size() == 0 || spans[r].size() > share * kHeadsOverShare) return false;
  }
  return true;
}

// The query heads of each rank.
std::vector<ShardRange> cut_heads(const Hyperparameters& config, std::span<const double> cuts) {
  const uint32_t group = config.q_heads / config.kv_heads;
  std::vector<ShardRange> spans = cut(config.kv_heads, 1, cuts);
  if (fair(spans, config.kv_heads, cuts)) {
    for (ShardRange& span : spans) span = {span.begin * group, span.end * group};
    return spans;
  }
  spans = cut(config.q_heads, 1, cuts);
  give_each_one(config.q_heads, spans);
  return spans;
}

std::vector<HeadGroup> groups_of(const ShardRange& q_heads, uint32_t group) {
  std::vector<HeadGroup> out;
  for (uint32_t head = q_heads.begin; head < q_heads.end;) {
    const uint32_t kv_head = head / group, end = std::min(q_heads.end, (kv_head + 1) * group);
    out.push_back({kv_head, {head, end}});
    head = end;
  }
  return out;
}

bool whole_blocks(std::span<const HeadGroup> groups, uint32_t head_dim) {
  return std::ranges::all_of(groups, [&](const HeadGroup& group) {
    return group.q_heads.begin * head_dim % ops::kActivationBlock == 0 &&
           group.q_heads.end * head_dim % ops::kActivationBlock == 0;
  });
}

// Weights that a token's way through a layer reads: what the layer costs, whether it is bound by
// memory or by arithmetic.
double layer_values(const Hyperparameters& config) {
  const double hidden = config.hidden, q = config.q_width(), kv = config.kv_width();
  const ExpertConfig& experts = config.experts;
  const double wide =
      experts.count == 0
          ? config.feed_forward
          : static_cast<double>(experts.used) * experts.feed_forward + experts.shared_feed_forward;
  return hidden * (2 * q + 2 * kv + 3 * wide);
}

double head_values(const Hyperparameters& config) {
  return config.architecture.encoder ? 0 : static_cast<double>(config.vocab_size) * config.hidden;
}

// Sets the experts' part of each rank's plan.
void cut_experts(const Hyperparameters& config, std::span<const double> cuts, uint32_t groups,
                 std::vector<ShardPlan>& plans) {
  const size_t ranks = plans.size(), size = ranks / groups;
  std::vector<double> group_cuts;
  for (size_t r = 0; r <= ranks; r += size) group_cuts.push_back(cuts[r]);
  std::vector<ShardRange> experts = cut(config.experts.count, 1, group_cuts);
  if (groups > 1) give_each_one(config.experts.count, experts);
  for (size_t g = 0; g < groups; ++g) {
    std::vector<double> own;  // Where the group's ranks cut its experts.
    for (size_t r = g * size; r <= (g + 1) * size; ++r)
      own.push_back((cuts[r] - cuts[g * size]) / (cuts[(g + 1) * size] - cuts[g * size]));
    const std::vector<ShardRange> wide = cut(config.experts.feed_forward, kGatedUnit, own),
                                  hidden = cut(config.hidden, ops::kPanelRows, own);
    for (size_t i = 0; i < size; ++i) {
      ShardPlan& plan = plans[g * size + i];
      plan.experts = experts[g];
      plan.expert_feed_forward = wide[i];
      plan.expert_hidden = hidden[i];
    }
  }
}

Result<void> check(const Hyperparameters& config, uint32_t tp_size, std::span<const double> split) {
  if (tp_size == 0 || tp_size > config.q_heads)
    return invalid(fmt::format("tensor_parallel_size is {}, but the model has {} query heads: use "
                               "1 to {}, and num_replicas for more devices",
                               tp_size, config.q_heads, config.q_heads),
                   "tensor_parallel_size");
  if (split.empty()) return {};
  if (split.size() != tp_size)
    return invalid(fmt::format("tensor_split has {} shares for tensor_parallel_size {}: give one "
                               "for each rank",
                               split.size(), tp_size),
                   "tensor_split");
  if (!std::ranges::all_of(split, [](double share) { return std::isfinite(share) && share > 0; }))
    return invalid(
        fmt::format("tensor_split is {}: every share is a number above 0", fmt::join(split, ",")),
        "tensor_split");
  return {};
}

}  // namespace

std::string RankShard::name() const {
  std::string out = fmt::format("tp{}of{}pp{}of{}", tp_rank, tp_size, pp_rank, pp_size);
  if (pp_size > 1 && pipeline_split == PipelineSplit::kEven) out += "even";
  if (ep_size > 1) out += fmt::format("ep{}", ep_size);
  if (!tensor_split.empty()) out += fmt::format("split{}", fmt::join(tensor_split, "-"));
  return out;
}

Result<void> check_expert_groups(uint32_t experts, uint32_t tp_size, uint32_t ep_size) {
  const auto wrong = [&](const std::string& why) {
    return invalid(fmt::format("expert_parallel_size is {}, but {}", ep_size, why),
                   "expert_parallel_size");
  };
  if (ep_size == 1) return {};
  if (experts == 0) return wrong("the model has no experts: use 1");
  if (ep_size == 0 || ep_size > experts)
    return wrong(fmt::format("the model has {} experts: use 1 to {}", experts, experts));
  if (tp_size % ep_size != 0) {
    std::vector<uint32_t> works;
    for (uint32_t size = 1; size <= std::min(tp_size, experts); ++size)
      if (tp_size % size == 0) works.push_back(size);
    return wrong(fmt::format("it must divide tensor_parallel_size {}: use {}", tp_size,
                             fmt::join(works, ", ")));
  }
  return {};
}

Result<std::vector<ShardPlan>> shard_plans(const Hyperparameters& config, uint32_t tp_size,
                                           std::span<const double> tensor_split, uint32_t ep_size) {
  ALTLAS_TRY_VOID(check(config, tp_size, tensor_split));
  ALTLAS_TRY_VOID(check_expert_groups(config.experts.count, tp_size, ep_size));
  const std::vector<double> cuts = cuts_of(tp_size, tensor_split);
  const ExpertConfig& experts = config.experts;
  const uint32_t router = experts.count + (experts.shared_feed_forward > 0 ? 1 : 0);
  std::vector<ShardPlan> out(tp_size);
  const auto set = [&](ShardRange ShardPlan::* part, const std::vector<ShardRange>& spans) {
    for (uint32_t r = 0; r < tp_size; ++r) out[r].*part = spans[r];
  };
  set(&ShardPlan::q_heads, cut_heads(config, cuts));
  set(&ShardPlan::hidden, cut(config.hidden, ops::kPanelRows, cuts));
  set(&ShardPlan::feed_forward, cut(config.feed_forward, kGatedUnit, cuts));
  cut_experts(config, cuts, ep_size, out);
  set(&ShardPlan::shared_feed_forward, cut(experts.shared_feed_forward, kGatedUnit, cuts));
  set(&ShardPlan::router, cut(router, ops::kPanelRows, cuts));
  set(&ShardPlan::vocab, cut(config.vocab_size, ops::kSampleRun, cuts));
  bool whole = true;
  for (ShardPlan& plan : out) {
    plan.head_groups = groups_of(plan.q_heads, config.q_heads / config.kv_heads);
    plan.kv_heads = {plan.head_groups.front().kv_head, plan.head_groups.back().kv_head + 1};
    whole = whole && whole_blocks(plan.head_groups, config.head_dim);
  }
  for (ShardPlan& plan : out) plan.attends_whole_blocks = whole;
  return out;
}

Result<std::vector<ShardRange>> split_layers(const Hyperparameters& config, uint32_t stages,
                                             PipelineSplit split) {
  const uint32_t layers = config.layer_count;
  if (stages == 0 || stages > layers)
    return invalid(fmt::format("pipeline_parallel_size is {}, but the model has {} layers: use 1 "
                               "to {}",
                               stages, layers, layers),
                   "pipeline_parallel_size");
  std::vector<ShardRange> out;
  if (split == PipelineSplit::kEven) {
    for (uint32_t s = 0; s < stages; ++s)
      out.push_back({layers / stages * s, s + 1 == stages ? layers : layers / stages * (s + 1)});
    return out;
  }
  const double all_layers = layer_values(config) * layers,
               stage = (all_layers + head_values(config)) / stages;
  std::vector<double> cuts(stages + 1, 1.0);
  for (uint32_t s = 0; s < stages; ++s) cuts[s] = stage * s / all_layers;
  out = cut(layers, 1, cuts);
  give_each_one(layers, out);
  return out;
}

Result<ShardPlan> shard_plan(const Hyperparameters& config, const RankShard& shard) {
  ALTLAS_TRY(std::vector<ShardPlan> plans,
             shard_plans(config, shard.tp_size, shard.tensor_split, shard.ep_size));
  ALTLAS_TRY(const std::vector<ShardRange> stages,
             split_layers(config, shard.pp_size, shard.pipeline_split));
  ALTLAS_CHECK(shard.tp_rank < plans.size() && shard.pp_rank < stages.size(),
               "a rank of the replica");
  ShardPlan& plan = plans[shard.tp_rank];
  plan.layers = stages[shard.pp_rank];
  plan.first = shard.pp_rank == 0;
  plan.last = shard.pp_rank + 1 == stages.size();
  return std::move(plan);
}

}  // namespace altlas::model
