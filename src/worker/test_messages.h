// One of each message, with every field set to something that is not its default.
#pragma once

#include <string>
#include <vector>

#include "worker/frames.h"

namespace altlas::worker {

inline SamplingParams full_sampling() {
  SamplingParams sampling;
  sampling.temperature = 0.25f;
  sampling.top_p = 0.5f;
  sampling.top_k = -1;
  sampling.min_p = 0.125f;
  sampling.repetition_penalty = 1.5f;
  sampling.presence_penalty = -0.5f;
  sampling.frequency_penalty = 0.75f;
  sampling.seed = 0xfedcba9876543210;
  sampling.logprobs = 0;
  sampling.prompt_logprobs = 2;
  sampling.ignore_eos = true;
  sampling.min_tokens = 5;
  sampling.skip_special_tokens = false;
  sampling.stop_token_ids = {3, 151000};
  sampling.stop = {"\n\n", "\xff\xfe", ""};
  sampling.logit_bias = {{-1, 0.5f}, {151000, -100.0f}};
  sampling.shown_tokens = {4, 151001};
  sampling.grammar = {GrammarKind::kJsonSchema, "{}\xff", {151002, 7}, "</t\xff>"};
  return sampling;
}

inline std::vector<engine::Command> all_commands() {
  engine::LoadReplica load;
  load.kind = "echo";
  load.model_path = "/models/\xff.gguf";
  load.tokenizer_path = "/models/tokenizer";
  load.worker = 1;
  load.rendezvous = "secret/7";
  load.ranks = {
      {.device_id = 3, .device_spec = "cpu:1:1:4GiB"},
      {.worker = 1, .node = 2, .device_id = 4, .device_spec = "cpu:1:1:4GiB", .cpu_first = 8}};
  load.tensor_parallel_size = 2;
  load.tensor_split = {3, 1};
  load.pipeline_parallel_size = 3;
  load.pipeline_split = PipelineSplit::kEven;
  load.pipeline_micro_batches = 13;
  load.expert_parallel_size = 4;
  load.model_len_max = 5;
  load.sequences_max = 6;
  load.step_tokens_max = 7;
  load.block_tokens = 8;
  load.executor_depth = 9;
  load.memory_utilization = 0.1;
  load.kv_dtype = KvType::kQ8_0;
  load.prefix_caching = false;
  load.kv_tokens_max = uint64_t{1} << 40;
  load.swap_bytes = 10;
  load.speculative_tokens = 11;
  load.draft_model_path = "/models/draft.gguf";
  load.repack_folder = "/cache";
  load.offload_layers = 14;
  load.stream_weights = true;
  load.adapter_rank_max = 12;
  load.adapters = {{"one", "/a.gguf"}, {"two", "/b.safetensors"}};
  Prompt prompt{1, -2, INT32_MAX};
  prompt.add_payload("{\"a\": 1}", 2);
  prompt.push_back(9);
  const engine::SubmitSequence submit{
      SequenceId{UINT64_MAX}, prompt, {4, INT32_MIN}, -3, 2, -5, full_sampling(), "adapter", true};
  return {load,
          submit,
          engine::CancelSequence{SequenceId{7}},
          engine::DrainReplica{},
          engine::LoadAdapter{{"three", "/c\xff"}, UINT64_MAX},
          engine::UnloadAdapter{"four"}};
}

inline std::vector<engine::Report> all_reports() {
  const std::vector<TokenLogprobs> logprobs{{1, -0.5f, {{1, -0.5f}, {2, -1.5f}}}, {-7, -2.0f, {}}};
  engine::ReplicaLoaded loaded;
  loaded.sequences_max = 1;
  loaded.model_len_max = 2;
  loaded.block_tokens = 3;
  loaded.kv_blocks = 4;
  loaded.ranks = {{UINT64_MAX, 7, {5, 6}}, {0, 0, {}}, {1, 2, {3}}};
  loaded.step_tokens_max = 9;
  loaded.groups = {{kv::GroupKind::kWindow, 10, 11, 12}};
  loaded.swap_places = 13;
  loaded.swap_block_ns = 14;
  loaded.prefill_token_ns = 15;
  loaded.draft_model = true;
  loaded.vocab_size = 16;
  loaded.reads_payloads = true;
  loaded.simd = "avx512_vnni";
  loaded.embedding_size = 8;
  loaded.generates = false;
  engine::ReplicaStats stats;
  stats.steps = 1;
  stats.running = 2;
  stats.waiting = 3;
  stats.kv_blocks_free = 4;
  stats.preemptions = 5;
  stats.prompt_tokens = 6;
  stats.generated_tokens = 7;
  stats.device_busy_us = {-1, 8};
  stats.device_memory_used = {9, UINT64_MAX};
  stats.prefix_query_tokens = 10;
  stats.prefix_hit_tokens = 11;
  stats.swapped_blocks = 12;
  stats.speculative_drafted = 13;
  stats.speculative_accepted = 14;
  stats.not_finite_outputs = 15;
  stats.step_sequences = 16;
  return {engine::LoadProgress{"weights", 0.75},
          loaded,
          engine::LoadFailed{ErrorCode::kDevice, "no memory \xff"},
          engine::SequenceTokens{SequenceId{1},
                                 TokenDelta{5, {1, -2}, 9, "\xf0\x9f", logprobs, {logprobs[1]}}},
          engine::SequenceFinished{
              SequenceId{2},
              TaskResult{"text", 3, FinishReason::kLength, "stop", logprobs, {0.5f, -1}, 7}},
          engine::SequenceFailed{SequenceId{3}, ErrorCode::kTooLarge, "why"},
          engine::SequenceCanceled{SequenceId{4}, 17},
          stats,
          engine::ReplicaDrained{},
          engine::AdapterLoaded{"five", UINT64_MAX, "why \xff", ErrorCode::kBusy, 77}};
}

// Every field set to something that is not its default.
inline StepPlan full_plan() {
  StepPlan plan;
  plan.id = StepId{11};
  auto request = std::make_shared<SequenceRequest>();
  request->prompt = {1, 2, 3};
  request->generated = {8, 9};
  request->sampling.seed = 77;
  request->adapter = 2;
  request->embeds = true;
  plan.starts.push_back({3, std::move(request)});
  plan.tables.push_back({3, {{0, 0, {BlockId{1}}}, {1, 5, {BlockId{4}, BlockId{2}}}}});
  plan.swap_out.push_back({0, BlockId{6}, 7});
  plan.copies.push_back({0, BlockId{8}, BlockId{9}});
  plan.swap_in.push_back({1, BlockId{3}, 2});
  StepEntry guessed;
  guessed.slot = 3;
  guessed.position = 40;
  guessed.tokens = {5, kTokenGuessed, kTokenGuessed};
  guessed.samples = true;
  guessed.guesses = 2;
  guessed.allowed =
      std::make_shared<const std::vector<uint64_t>>(std::vector<uint64_t>{5, UINT64_MAX});
  StepEntry chunk;
  chunk.slot = 5;
  chunk.tokens = {1, 2};
  chunk.prompt_logprobs = true;
  plan.entries = {guessed, chunk};
  plan.ends = {1, 4};
  return plan;
}

inline StepResult full_result() {
  StepResult result{.id = StepId{12}, .sampled = {}, .busy_us = 4, .rank_busy_us = {4, 5}};
  SampledToken& sampled = result.sampled.emplace_back();
  sampled.slot = 2;
  sampled.token = 99;
  sampled.prompt_logprobs.resize(1);
  sampled.following.resize(2);
  sampled.following[1].token = 7;
  sampled.following[1].finite = false;
  sampled.embedding = {0.5f, -0.25f};
  return result;
}

inline std::vector<NodeMessage> all_node_messages() {
  const WorkerId worker{ReplicaId{7}, 2};
  return {NodeOffer{{{"AMD \xff", "cpu", "cpu:1:2:4GiB", uint64_t{4} << 30, 6},
                     {"H100", "sim", "sim:h100", UINT64_MAX, 0}}},
          SpawnWorker{worker, UINT64_MAX, "token\xff"}, KillWorker{worker},
          WorkerEnded{worker, "killed by signal 9"}};
}

}  // namespace altlas::worker
