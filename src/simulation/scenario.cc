#include "simulation/scenario.h"

#include <fmt/format.h>

#include <map>
#include <memory>
#include <string>

#include "base/check.h"
#include "engine/replica_core.h"
#include "engine/sim_executor.h"
#include "simulation/toy_text.h"

namespace altlas::simulation {
namespace {

constexpr uint32_t kBlockTokens = 16;
// Tokens after which the text repeats, so that guesses from the text are sometimes right.
constexpr uint32_t kTextPeriod = 11;

bool one_in(PhiloxStream& random, uint64_t n) { return random.below(n) == 0; }
int64_t between(PhiloxStream& random, int64_t low, int64_t high) {
  return low + static_cast<int64_t>(random.below(static_cast<uint64_t>(high - low + 1)));
}

engine::SimShape small_shape() {
  engine::SimShape shape;
  shape.layers = 2;
  shape.hidden = 64;
  shape.heads = 4;
  shape.kv_heads = 2;
  shape.head_dim = 16;
  shape.ffn = 128;
  shape.vocab = kVocabulary;
  shape.model_len_max = kModelLenMax;
  shape.weight_bytes = 64 << 10;
  return shape;
}

// Returns a model with `kv_blocks` KV blocks, on a device that has `share` of its memory for it.
engine::SimOptions make_model(uint32_t kv_blocks, uint32_t sequences_max, double launch_s,
                              double share) {
  engine::SimOptions model;
  model.shape = small_shape();
  model.sequences_max = sequences_max;
  model.step_tokens_max = kEncoderTokensMax;
  model.block_tokens = kBlockTokens;
  model.text_period = kTextPeriod;
  model.memory_utilization = share;
  model.kind.name = "small";
  model.kind.memory_bytes = uint64_t{1} << 30;
  model.kind.memory_bytes_per_s = 1e12;
  model.kind.bf16_flops = model.kind.int8_ops = 1e13;
  model.kind.launch_s = launch_s;
  model.kind.link_bytes_per_s = 1e11;
  const auto roomy = engine::sim_limits(model);
  ALTLAS_CHECK(roomy.ok(), roomy.error().message());
  const uint64_t bytes = roomy->rank(0).fixed() + kv_blocks * roomy->block_bytes() + 64;
  model.kind.memory_bytes = static_cast<uint64_t>(static_cast<double>(bytes) / share) + 1;
  return model;
}

void make_limits(const WorldOptions& options, PhiloxStream& random, control::CoreSetup& setup) {
  setup.strategy = static_cast<Strategy>(random.below(std::size(kStrategyNames)));
  setup.random_seed = random.next();
  setup.max_queue_size = static_cast<uint32_t>(between(random, 2, 40));
  setup.queue_timeout_us = between(random, 5, 60) * kSecond;
  setup.age_step_us = between(random, 1, 5) * kSecond;
  setup.max_concurrent_tasks = one_in(random, 2) ? 0 : static_cast<uint32_t>(between(random, 1, 6));
  setup.tokens = static_cast<TokenJournal>(random.below(3));
  setup.tasks_kept_max =
      one_in(random, 3) ? static_cast<uint64_t>(between(random, 5, 30)) : 100'000;
  setup.crashes_max = static_cast<uint32_t>(between(random, 2, 6));
  if (one_in(random, 2))
    setup.task_specific = {
        {"special", {DeviceId{static_cast<int32_t>(random.below(options.devices))}}}};
}

Shapes draw_shapes(PhiloxStream& random) {
  Shapes out;
  for (bool Shapes::* one :
       {&Shapes::two_steps, &Shapes::adapters, &Shapes::grammars, &Shapes::payloads,
        &Shapes::embeddings, &Shapes::payload_prompts, &Shapes::graceful_stop, &Shapes::two_ranks})
    out.*one = one_in(random, 3);
  return out;
}

void make_limits_of(control::DeploymentSetup& out, PhiloxStream& random) {
  out.max_ongoing = one_in(random, 2) ? 0 : static_cast<uint32_t>(between(random, 1, 8));
  out.max_queued = one_in(random, 3) ? static_cast<uint32_t>(between(random, 2, 20)) : 1000;
  out.health_check_timeout_us = between(random, 2, 6) * kSecond;
  out.startup_timeout_us = between(random, 5, 20) * kSecond;
}

control::DeploymentSetup make_deployment(size_t index, const Shapes& shapes, Answers answers,
                                         PhiloxStream& random) {
  control::DeploymentSetup out;
  out.name = fmt::format("model-{}", index);
  out.model = out.name;
  out.load.model_path = out.name + ".gguf";
  out.task_types = {index == 0 ? "text_generation" : "other"};
  make_limits_of(out, random);
  if (one_in(random, 2)) out.load.swap_bytes = static_cast<uint64_t>(between(random, 1, 20)) << 12;
  if (shapes.adapters && one_in(random, 2)) out.load.adapters = {{"tone", "configured"}};
  if (answers == Answers::kEmbeddings) return out;
  // With two steps in flight there are no guesses: those follow tokens that are known.
  if (shapes.two_steps) {
    out.load.executor_depth = 2;
    return out;
  }
  if (one_in(random, 2)) out.load.speculative_tokens = static_cast<uint32_t>(between(random, 1, 8));
  if (one_in(random, 3)) out.load.draft_model_path = "draft.gguf";
  return out;
}

control::DeploymentSetup make_payload_deployment(uint32_t devices, PhiloxStream& random) {
  control::DeploymentSetup out;
  out.name = "echo";
  out.load.kind = "echo";
  out.task_types = {"echo"};
  make_limits_of(out, random);
  const auto replicas = static_cast<uint32_t>(between(random, 1, devices));
  for (uint32_t i = 0; i < replicas; ++i)
    out.replicas.push_back({DeviceId{static_cast<int32_t>(i)}});
  return out;
}

// Joins the first two replicas of the first deployment into one of two ranks.
void join_two(Scenario& scenario) {
  control::DeploymentSetup& one = scenario.setup.deployments.front();
  one.replicas = {{one.replicas.at(0).front(), one.replicas.at(1).front()}};
  one.load.tensor_parallel_size = 2;
}

}  // namespace

Scenario make_scenario(const WorldOptions& options, PhiloxStream& random) {
  Scenario out;
  out.shapes = draw_shapes(random);
  make_limits(options, random, out.setup);
  const size_t models = one_in(random, 3) ? 2 : 1;
  // The last deployment only embeds.
  const bool encoder = out.shapes.embeddings && one_in(random, 2);
  const bool twice = one_in(random, 4);  // The first deployment has two replicas on device 0.
  const double share = 0.9 / static_cast<double>(models + (twice ? 1 : 0));
  for (size_t i = 0; i < models; ++i) {
    out.answers.push_back(encoder && i + 1 == models ? Answers::kEmbeddings : Answers::kTexts);
    out.setup.deployments.push_back(make_deployment(i, out.shapes, out.answers.back(), random));
    out.models.emplace_back();
  }
  out.setup.default_deployment = "model-0";
  for (uint32_t i = 0; i < options.devices; ++i) {
    const DeviceId device{static_cast<int32_t>(i)};
    const auto blocks = static_cast<uint32_t>(between(random, 10, 40));
    const auto sequences = static_cast<uint32_t>(between(random, 1, 6));
    const double launch_s = static_cast<double>(between(random, 500, 4000)) * 1e-6;
    const engine::SimOptions model = make_model(blocks, sequences, launch_s, share);
    for (size_t d = 0; d < models; ++d) {
      out.models[d].push_back(model);
      out.models[d].back().reads_payloads = out.shapes.payload_prompts;
      out.models[d].back().generates = out.answers[d] == Answers::kTexts;
      if (d == 0 || i % 2 == 0) out.setup.deployments[d].replicas.push_back({device});
      if (d == 0 && i == 1 && out.shapes.two_ranks) join_two(out);
    }
    out.setup.devices.push_back({device, fmt::format("small {}", i), "sim", model.kind.memory_bytes,
                                 fmt::format("sim:small:{}", i), 0});
  }
  if (out.shapes.two_ranks) out.setup.devices[1].node = one_in(random, 2) ? 0 : 1;
  if (twice) out.setup.deployments[0].replicas.push_back(out.setup.deployments[0].replicas.front());
  if (out.shapes.payloads) {
    out.setup.deployments.push_back(make_payload_deployment(options.devices, random));
    out.answers.push_back(Answers::kPayloads);
    out.models.emplace_back();
  }
  return out;
}

Result<std::string> answer_payload(const std::string& payload) {
  return fmt::format(R"({{"echo": {}}})", payload);
}

namespace {

engine::SubmitSequence command_of(const TaskSpec& spec) {
  engine::SubmitSequence command;
  command.sequence = SequenceId{1};
  command.prompt = spec.prompt;
  command.tokens_max = spec.tokens_max;
  command.sampling = spec.sampling;
  command.adapter = spec.adapter;
  command.embeds = spec.embeds;
  return command;
}

Expected run_alone(const ClientTask& task, const text::Tokenizer* tokenizer) {
  const TaskSpec& spec = task.spec;
  if (spec.prompt.empty()) return {*answer_payload(spec.prompt.payloads().at(0).content), {}};
  engine::SimOptions model = make_model(kModelLenMax / kBlockTokens + 1, 1, 1e-3, 0.9);
  model.reads_payloads = true;
  auto executor =
      engine::SimExecutor::create(model, tokenizer, engine::SimTime::kVirtual, system_clock());
  ALTLAS_CHECK(executor.ok(), executor.error().message());
  engine::CoreOptions options;
  if (!spec.adapter.empty()) {
    options.adapters = {spec.adapter};
    ALTLAS_CHECK((*executor)->load_adapter(1, task.adapter_file).ok(), "a modelled adapter loads");
  }
  engine::ReplicaCore core((*executor)->limits(), options, tokenizer);
  core.handle(command_of(spec));
  if (const auto wanted = core.take_grammar_job())
    core.grammar_compiled(core.grammar_compiler().compile(*wanted));
  for (int step = 0; step < 1000; ++step) {
    for (engine::Report& report : core.take_reports()) {
      if (auto* done = std::get_if<engine::SequenceFinished>(&report))
        return {std::move(done->result.text), std::move(done->result.embedding)};
      if (auto* failed = std::get_if<engine::SequenceFailed>(&report))
        return {"(fails: " + failed->message + ")", {}};
    }
    (*executor)->launch(core.plan());
    const auto result = (*executor)->collect();
    core.commit(*result);
  }
  return {"(does not end)", {}};
}

}  // namespace

ExpectedResult make_expected(const Shapes& shapes) {
  const text::Tokenizer* tokenizer = shapes.grammars ? &toy_tokenizer() : nullptr;
  return [tokenizer, known = std::make_shared<std::map<TaskId, Expected>>()](
             const ClientTask& task) -> const Expected& {
    const auto [found, added] = known->try_emplace(task.spec.id);
    if (added) found->second = run_alone(task, tokenizer);
    return found->second;
  };
}

}  // namespace altlas::simulation
