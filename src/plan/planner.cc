#include "plan/planner.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "base/integers.h"

namespace altlas::plan {
namespace {

std::string counted(int32_t count, std::string_view noun) {
  constexpr std::array<std::string_view, 9> kWords = {"no",   "one", "two",   "three", "four",
                                                      "five", "six", "seven", "eight"};
  const auto place = static_cast<size_t>(count);
  const std::string number =
      place < kWords.size() ? std::string(kWords[place]) : std::to_string(count);
  return fmt::format("{} {}{}", number, noun, count == 1 ? "" : "s");
}

// Whether the ranks can share the model: tensor ranks take whole query heads; if there are fewer KV
// heads than ranks, several ranks hold the same head.
bool divides(const ModelShape& shape, int32_t tensor) {
  const bool kv =
      shape.latent_values > 0 || shape.kv_heads % tensor == 0 || tensor % shape.kv_heads == 0;
  return shape.heads % tensor == 0 && kv;
}

int32_t per_node(const PlanRequest& r) {
  return std::min(r.devices, static_cast<int32_t>(r.device.kind.devices_per_node));
}

StepModel step_model(const PlanRequest& r, const ParallelLayout& layout) {
  StepModel model{.shape = r.shape, .device = r.device, .layout = layout, .weights = r.weights};
  model.weights.kv_bytes_per_value = kv_bytes_per_value(model, r.engine);
  return model;
}

bool holds(const MemoryPlan& memory, const ServingLoad& load) {
  return memory.kv_tokens >= load.input_tokens + load.output_tokens &&
         memory.kv_tokens * memory.kv_per_token >= kKvShareMin * memory.budget;
}

Alternative evaluate(const PlanRequest& r, const ParallelLayout& layout) {
  Alternative out{.layout = layout, .replicas = r.devices / layout.ranks()};
  const StepModel model = step_model(r, layout);
  out.memory = memory_plan(model, r.engine);
  out.usd_per_hour = out.devices() * r.device.kind.price_usd_per_hour;
  out.spot_usd_per_hour = out.devices() * r.device.kind.price_spot_usd_per_hour;
  ServingLoad each = r.load;
  each.concurrency = ceil_div(r.load.concurrency, out.replicas);
  auto figures = predict_serving(model, r.engine, each);
  if (!figures.ok()) {
    out.reason = figures.error().message();
    return out;
  }
  out.figures = *figures;
  out.figures->output_tokens_per_s *= static_cast<double>(r.load.concurrency) / each.concurrency;
  const double tokens_per_hour = out.figures->output_tokens_per_s * 3600;
  out.usd_per_million = out.usd_per_hour / tokens_per_hour * 1e6;
  out.spot_usd_per_million = out.spot_usd_per_hour / tokens_per_hour * 1e6;
  return out;
}

ParallelLayout layout_of(const PlanRequest& r, int32_t tensor, int32_t pipeline) {
  ParallelLayout layout;
  layout.tensor_parallel_size = tensor;
  layout.pipeline_parallel_size = pipeline;
  if (r.shape.experts > 0 && r.shape.experts % tensor == 0) layout.expert_parallel_size = tensor;
  return layout;
}

// Returns every layout of powers of two that divides the model and that the devices have room for.
std::vector<ParallelLayout> layouts(const PlanRequest& r) {
  std::vector<ParallelLayout> out;
  for (int32_t tensor = 1; tensor <= per_node(r); tensor *= 2) {
    if (!divides(r.shape, tensor)) continue;
    for (int32_t pipeline = 1; pipeline <= r.shape.layers && tensor * pipeline <= r.devices;
         pipeline *= 2)
      out.push_back(layout_of(r, tensor, pipeline));
  }
  return out;
}

// Returns the alternative with the fewest devices; among those, the one with the most tensor ranks:
// all of a node's before any stage.
const Alternative* fewest(const std::vector<Alternative>& all, const ServingLoad& load) {
  const Alternative* best = nullptr;
  for (const Alternative& a : all) {
    if (!a.figures || !holds(a.memory, load)) continue;
    const bool better = best == nullptr || a.layout.ranks() < best->layout.ranks() ||
                        (a.layout.ranks() == best->layout.ranks() &&
                         a.layout.tensor_parallel_size > best->layout.tensor_parallel_size);
    if (better) best = &a;
  }
  return best;
}

std::string nearest(const PlanRequest& r) {
  ParallelLayout best = layout_of(r, 1, 1);
  const auto distance = [&](const ParallelLayout& l) {
    return std::abs(l.tensor_parallel_size - std::max(1, r.tensor)) +
           std::abs(l.pipeline_parallel_size - std::max(1, r.pipeline));
  };
  for (const ParallelLayout& layout : layouts(r))
    if (distance(layout) < distance(best)) best = layout;
  return fmt::format("; the nearest layout that works is {}", layout_name(best));
}

Result<void> check_given(const PlanRequest& r) {
  const int32_t tensor = std::max(1, r.tensor), pipeline = std::max(1, r.pipeline);
  const int64_t ranks = int64_t{tensor} * pipeline;
  if (tensor > r.shape.heads)
    return invalid(fmt::format("{} tensor ranks are more than the model's {} heads{}", tensor,
                               r.shape.heads, nearest(r)));
  if (pipeline > r.shape.layers)
    return invalid(fmt::format("{} pipeline stages are more than the model's {} layers{}", pipeline,
                               r.shape.layers, nearest(r)));
  if (ranks > r.devices)
    return invalid(fmt::format("TP {} x PP {} needs {} devices and there are {}{}", tensor,
                               pipeline, ranks, r.devices, nearest(r)));
  if (!divides(r.shape, tensor))
    return invalid(fmt::format("{} tensor ranks do not divide {} heads and {} KV heads{}", tensor,
                               r.shape.heads, r.shape.kv_heads, nearest(r)));
  if (r.expert > 1 && r.shape.experts == 0)
    return invalid(
        fmt::format("{} expert ranks for a model without experts; leave "
                    "--expert-parallel-size out",
                    r.expert));
  if (r.expert > 1 && (r.shape.experts % r.expert != 0 || r.expert != tensor))
    return invalid(
        fmt::format("{} expert ranks: they are the tensor ranks ({}) and must divide "
                    "the {} experts{}",
                    r.expert, tensor, r.shape.experts, nearest(r)));
  return {};
}

Rule rule_of(const PlanRequest& r, int32_t needed) {
  if (r.tensor > 0 || r.pipeline > 0 || r.expert > 0) return Rule::kGiven;
  if (needed == 1) return Rule::kData;
  if (r.shape.experts > 0) return Rule::kExpert;
  return needed <= 4 ? Rule::kTensor : Rule::kTensorPipeline;
}

std::string decided(Rule rule, const Alternative& chosen) {
  const std::string replicas = counted(chosen.replicas, "replica");
  const ParallelLayout& l = chosen.layout;
  switch (rule) {
    case Rule::kData:
      return fmt::format("fits one device → DP, {}", replicas);
    case Rule::kTensor:
      return fmt::format("needs 2–4 → TP {}, {}", l.tensor_parallel_size, replicas);
    case Rule::kTensorPipeline:
      return fmt::format("needs more than 4 → TP {} inside a node × PP {} across, {}",
                         l.tensor_parallel_size, l.pipeline_parallel_size, replicas);
    case Rule::kExpert:
      return fmt::format("mixture of experts → EP {} (TP {} × PP {}), {}", l.expert_parallel_size,
                         l.tensor_parallel_size, l.pipeline_parallel_size, replicas);
    case Rule::kGiven:
      return fmt::format("layout given → {}, {}", layout_name(l), replicas);
  }
  return replicas;
}

Error nothing_fits(const PlanRequest& r, const std::vector<Alternative>& all) {
  const Alternative& most =
      *std::ranges::max_element(all, {}, [](const Alternative& a) { return a.memory.kv_tokens; });
  const double per_device = most.memory.budget * (1 - kKvShareMin) - most.memory.activations;
  const double needed = most.memory.weights * most.layout.ranks() / per_device;
  return invalid(fmt::format(
      "{} devices {} of {:.0f} GB are too few: {} would take {:.1f} GB of weights per device and "
      "leave {:.1f} GB for KV; about {:.0f} such devices hold the model",
      r.devices, r.device.kind.name, most.memory.budget / 1e9, layout_name(most.layout),
      most.memory.weights / 1e9,
      std::max(0.0, most.memory.kv_tokens * most.memory.kv_per_token) / 1e9,
      std::max(needed + 0.5, r.devices + 1.0)));
}
}  // namespace

std::string layout_name(const ParallelLayout& layout) {
  if (layout.ranks() == 1) return "one device";
  std::string name = fmt::format("TP{}", layout.tensor_parallel_size);
  if (layout.pipeline_parallel_size > 1)
    name += fmt::format(" x PP{}", layout.pipeline_parallel_size);
  if (layout.expert_parallel_size > 1) name += fmt::format(" EP{}", layout.expert_parallel_size);
  return name;
}

Result<Plan> make_plan(const PlanRequest& r) {
  if (!r.device.computes(r.weights.math))
    return invalid(fmt::format("{} does not compute {}: use bf16, fp16, int8 or int4",
                               r.device.kind.name, r.weights.name));
  if (r.load.input_tokens + r.load.output_tokens > r.shape.context && r.shape.context > 0)
    return invalid(fmt::format("{} tokens in and {} out exceed the model's {}", r.load.input_tokens,
                               r.load.output_tokens, r.shape.context));
  ALTLAS_TRY_VOID(check_given(r));
  Plan plan;
  for (const ParallelLayout& layout : layouts(r)) plan.alternatives.push_back(evaluate(r, layout));
  const Alternative* best = fewest(plan.alternatives, r.load);
  plan.needed = best != nullptr ? best->layout.ranks() : r.devices + 1;
  plan.rule = rule_of(r, plan.needed);
  if (plan.rule == Rule::kGiven) {
    ParallelLayout given = layout_of(r, std::max(1, r.tensor), std::max(1, r.pipeline));
    if (r.expert > 0) given.expert_parallel_size = r.expert;
    auto found = std::ranges::find(plan.alternatives, given, &Alternative::layout);
    if (found == plan.alternatives.end())
      found = plan.alternatives.insert(plan.alternatives.begin(), evaluate(r, given));
    if (!found->figures) return invalid(found->reason + nearest(r));
    best = &*found;
  }
  if (best == nullptr) return nothing_fits(r, plan.alternatives);
  plan.chosen = static_cast<size_t>(best - plan.alternatives.data());
  plan.decided = decided(plan.rule, *best);
  return plan;
}

}  // namespace altlas::plan
