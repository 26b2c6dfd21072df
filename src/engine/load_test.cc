#include "engine/load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>

#include "engine/sim_shape.h"
#include "engine/tokenizer.h"
#include "weights/gguf_writer.h"

namespace altlas::engine {
namespace {

using ::testing::HasSubstr;

struct End {
  std::string token = "<|im_end|>";
  int32_t type = 3;
  bool named = true;  // Whether the file names it, as tokenizer.ggml.eos_token_id.
};

// Writes a GGUF file of a two-layer model: metadata, vocabulary and one tensor.
std::string tiny_model(const End& end = {}) {
  weights::GgufWriter w;
  w.string("general.architecture", "qwen2")
      .uint32("qwen2.block_count", 2)
      .uint32("qwen2.embedding_length", 64);
  w.uint32("qwen2.feed_forward_length", 128).uint32("qwen2.attention.head_count", 4);
  w.uint32("qwen2.attention.head_count_kv", 2).uint32("qwen2.context_length", 512);
  w.string("tokenizer.ggml.model", "gpt2").string("tokenizer.ggml.pre", "qwen2");
  const std::vector<std::string> tokens = {"a", "b", "ab", end.token};
  const std::vector<std::string> merges = {"a b"};
  const std::vector<int32_t> types = {1, 1, 1, end.type};
  w.strings("tokenizer.ggml.tokens", tokens).int32s("tokenizer.ggml.token_type", types);
  w.strings("tokenizer.ggml.merges", merges);
  if (end.named) w.uint32("tokenizer.ggml.eos_token_id", 3);
  const std::vector<float> data(256, 1.0f);
  w.tensor("token_embd.weight", {64, 4}, data);
  const std::string path = ::testing::TempDir() + "altlas_engine_load_test.gguf";
  EXPECT_TRUE(w.write(path).ok());
  return path;
}

// Runs all commands to their end, in this thread.
std::map<uint64_t, TaskResult> run(LoadedReplica& replica,
                                   const std::vector<SubmitSequence>& work) {
  for (const SubmitSequence& s : work) replica.core->handle(s);
  std::map<uint64_t, TaskResult> results;
  while (true) {
    StepPlan plan = replica.core->plan();
    const bool idle = plan.empty();
    if (idle && (!replica.executor || replica.executor->in_flight() == 0)) break;
    if (!idle) replica.executor->launch(std::move(plan));
    if (idle || replica.executor->in_flight() >= replica.executor->depth()) {
      auto result = replica.executor->collect();
      EXPECT_TRUE(result.ok()) << result.error().message();
      if (!result.ok()) return {};
      replica.core->commit(*result);
      replica.core->check_integrity();
    }
  }
  for (Report& report : replica.core->take_reports()) {
    if (auto* finished = std::get_if<SequenceFinished>(&report))
      results[finished->sequence.value] = finished->result;
    if (auto* failed = std::get_if<SequenceFailed>(&report)) ADD_FAILURE() << failed->message;
  }
  return results;
}

// Goal: a model whose answers would never end is refused, with the key that is missing. Method:
// ends that are named, known by their spelling, or neither.
TEST(Load, RefusesAVocabularyWithoutAnEnd) {
  const std::pair<End, bool> rows[] = {{{"<|im_end|>", 3, false}, true},
                                       {{"<stop>", 3, true}, true},
                                       {{"<stop>", 3, false}, false},
                                       {{"c", 1, false}, false},
                                       {{"<|im_end|>", 1, false}, false}};
  for (const auto& [end, ok] : rows) {
    const auto text = open_model_text(tiny_model(end));
    EXPECT_EQ(text.ok(), ok) << end.token << " " << end.type;
    if (!text.ok()) {
      EXPECT_THAT(text.error().message(), HasSubstr("tokenizer.ggml.eos_token_id"));
    }
  }
}

// Goal: a simulated replica of a real file has the file's shape and vocabulary, and its text is the
// vocabulary's.
TEST(Load, SimulatesAModelFile) {
  const std::string path = tiny_model();
  const auto shape = read_sim_shape(path);
  ASSERT_TRUE(shape.ok()) << shape.error().message();
  EXPECT_EQ(shape->head_dim, 16u);
  EXPECT_EQ(shape->vocab, 4u);
  EXPECT_EQ(shape->weight_bytes, 1024u);

  LoadReplica load;
  load.model_path = path;
  load.ranks = {{.device_spec = "sim:h100:1"}};
  load.executor_depth = 2;
  auto replica = load_replica(load, {});
  ASSERT_TRUE(replica.ok()) << replica.error().message();
  SubmitSequence s;
  s.sequence = SequenceId{1};
  s.prompt = {0, 1, 2};
  s.tokens_max = 20;
  const auto results = run(**replica, {s});
  EXPECT_EQ(results.at(1).tokens, 20u);
  // "ab" is one token, so there are more bytes than tokens.
  EXPECT_GE(results.at(1).text.size(), 20u);
  EXPECT_EQ(results.at(1).text.find_first_not_of("ab"), std::string::npos);
  EXPECT_EQ((*replica)->core->loaded("").model_len_max, 512u);
}

// Goal: what a load message says reaches each rank.
TEST(Load, RanksAreToldWhatTheMessageSays) {
  LoadReplica load;
  load.model_path = "/m.gguf";
  load.tensor_parallel_size = 2;
  load.pipeline_parallel_size = 2;
  load.kv_tokens_max = 4096;
  load.swap_bytes = 5;
  load.draft_model_path = "/draft.gguf";
  load.repack_folder = "/panels";
  load.adapters = {{"a", "/a.gguf"}};
  model::LoadOptions rank = load_options(load, 3);
  EXPECT_EQ(rank.model_path, "/m.gguf");
  EXPECT_EQ(rank.shard.tp_rank, 1u);
  EXPECT_EQ(rank.shard.pp_rank, 1u);
  EXPECT_EQ(rank.kv_tokens_max, 4096u);
  EXPECT_EQ(rank.swap_bytes, 5u);
  EXPECT_EQ(rank.draft_model_path, "") << "nothing is guessed";
  EXPECT_EQ(rank.panels.folder, "/panels");
  EXPECT_EQ(rank.adapters, load.adapters);
  load.speculative_tokens = 2;
  EXPECT_EQ(load_options(load, 0).draft_model_path, "/draft.gguf");
}

// Goal: kv_tokens_max bounds the KV cache, and less than a sequence needs is refused.
TEST(Load, KvTokensMaxBounds) {
  LoadReplica load;
  load.model_path = tiny_model();
  load.ranks = {{.device_spec = "sim:h100:1"}};
  load.kv_tokens_max = 256;
  const auto replica = load_replica(load, {});
  ASSERT_TRUE(replica.ok()) << replica.error().message();
  EXPECT_EQ((*replica)->core->loaded("").kv_blocks, 16u);
  EXPECT_EQ((*replica)->core->loaded("").model_len_max, 256u);
}

// Goal: each bad request says what would be right.
TEST(Load, Refuses) {
  LoadReplica good;
  good.model_path = tiny_model();
  good.ranks = {{.device_spec = "sim:h100:1"}};
  const auto error = [&](auto change) {
    LoadReplica load = good;
    change(load);
    const auto result = load_replica(load, {});
    EXPECT_FALSE(result.ok());
    return result.ok() ? std::string() : result.error().message();
  };
  EXPECT_THAT(error([](LoadReplica& l) {
                l.ranks = {{.device_spec = "sim:h100:1"}, {.device_spec = "cpu:1:1:1GiB"}};
              }),
              HasSubstr("of one kind"));
  EXPECT_THAT(error([](LoadReplica& l) { l.ranks = {{.device_spec = "sim:x:1"}}; }),
              HasSubstr("h100"));
  EXPECT_THAT(error([](LoadReplica& l) { l.ranks = {}; }), HasSubstr("at least one rank"));
  EXPECT_THAT(error([](LoadReplica& l) { l.ranks = {{.device_spec = "sim:h100:2"}}; }),
              HasSubstr("names 2 devices: a rank has one"));
  EXPECT_THAT(error([](LoadReplica& l) {
                l.ranks = {{.device_spec = "sim:h100:1"},
                           {.worker = 1, .device_spec = "sim:h100:1"}};
              }),
              HasSubstr("worker processes that find each other"));
  EXPECT_THAT(error([](LoadReplica& l) { l.executor_depth = 0; }), HasSubstr("1 to 16"));
  EXPECT_THAT(error([](LoadReplica& l) { l.block_tokens = 0; }), HasSubstr("1 to 1024"));
  EXPECT_THAT(error([](LoadReplica& l) { l.speculative_tokens = 65; }), HasSubstr("at most 64"));
  EXPECT_THAT(error([](LoadReplica& l) {
                l.speculative_tokens = 4;
                l.executor_depth = 2;
              }),
              HasSubstr("executor_depth 1, it is 2"));
  EXPECT_THAT(error([](LoadReplica& l) { l.adapters = {{"a", "/x"}, {"a", "/y"}}; }),
              HasSubstr("two LoRA adapters are called 'a'"));
  EXPECT_THAT(error([](LoadReplica& l) { l.adapters = {{"", "/x"}}; }), HasSubstr("1 to 200"));
  EXPECT_THAT(error([](LoadReplica& l) {
                l.speculative_tokens = 4;
                l.draft_model_path = "/nonexistent.gguf";
              }),
              HasSubstr("/nonexistent.gguf"));
  EXPECT_THAT(error([](LoadReplica& l) { l.memory_utilization = 0; }), HasSubstr("above 0"));
  EXPECT_THAT(error([](LoadReplica& l) { l.memory_utilization = 1e-9; }),
              HasSubstr("does not fit"));
  EXPECT_THAT(error([](LoadReplica& l) { l.tensor_parallel_size = 0; }), HasSubstr("1 to 1024"));
  EXPECT_THAT(error([](LoadReplica& l) { l.model_path += ".none"; }), HasSubstr(".none"));
  EXPECT_THAT(error([](LoadReplica& l) { l.ranks = {{.device_spec = "cpu:1:1:1GiB"}}; }),
              ::testing::Not(::testing::IsEmpty()))
      << "the tiny file lacks nearly every tensor";
}

// Goal: the real model on a real slice of the CPU says the same whatever the batch, the chunks, the
// steps in flight, the prefix cache, and from where it resumes. Method: greedy and seeded sequences
// under several loads.
TEST(Load, RealModelIsBatchIndependent) {
  const char* path = std::getenv("ALTLAS_TEST_MODEL");
  if (path == nullptr) GTEST_SKIP() << "ALTLAS_TEST_MODEL names no GGUF file";
  LoadReplica load;
  load.model_path = path;
  load.ranks = {{.device_spec = "cpu:1:2:4GiB"}};
  load.model_len_max = 256;
  load.sequences_max = 4;
  auto replica = load_replica(load, {});
  ASSERT_TRUE(replica.ok()) << replica.error().message();
  const auto text = open_model_text(path);  // The replica's own tokenizer only decodes.
  ASSERT_TRUE(text.ok()) << text.error().message();
  std::vector<SubmitSequence> work;
  const std::vector<std::string> prompts = {"def fibonacci(n):\n", "The capital of France is",
                                            "def fibonacci(n):\n    # Returns the n-th Fibonacci "
                                            "number, counted from zero, without recursion.\n"};
  for (size_t i = 0; i < prompts.size(); ++i) {
    SubmitSequence s;
    s.sequence = SequenceId{i + 1};
    s.prompt = text->tokenizer->encode(prompts[i], {}).value();
    s.tokens_max = 24;
    s.sampling.temperature = i == 0 ? 0 : 0.8f;
    s.sampling.seed = i;
    work.push_back(s);
  }
  std::map<uint64_t, TaskResult> alone;
  for (const SubmitSequence& s : work) alone.merge(run(**replica, {s}));
  EXPECT_THAT(alone.at(1).text, HasSubstr("return"));
  for (const auto& [depth, chunk] : {std::pair{1u, 5u}, std::pair{2u, 512u}}) {
    load.executor_depth = depth;
    load.step_tokens_max = chunk;
    replica = load_replica(load, {});
    ASSERT_TRUE(replica.ok()) << replica.error().message();
    const auto batch = run(**replica, work);
    ASSERT_EQ(batch.size(), work.size());
    for (const auto& [id, result] : batch) EXPECT_EQ(result.text, alone.at(id).text) << id;
    std::vector<SubmitSequence> again = work;  // Their prefixes are cached by now.
    for (auto& s : again) {
      s.sequence.value += 10;
    }
    for (const auto& [id, result] : run(**replica, again))
      EXPECT_EQ(result.text, alone.at(id - 10).text) << id;
    EXPECT_GT((*replica)->core->batch().counters().cached_tokens, 0u);
  }
}

// Goal: with the real model guesses from the text, guesses of a draft model and swapped KV leave
// every text as it is. Method: greedy and sampled sequences that copy from their prompt, on a KV
// cache that is too small for them together.
TEST(Load, RealModelGuessesAndSwaps) {
  const char* path = std::getenv("ALTLAS_TEST_MODEL");
  if (path == nullptr) GTEST_SKIP() << "ALTLAS_TEST_MODEL names no GGUF file";
  LoadReplica load;
  load.model_path = path;
  load.ranks = {{.device_spec = "cpu:1:2:4GiB"}};
  load.model_len_max = 256;
  load.sequences_max = 4;
  auto replica = load_replica(load, {});
  ASSERT_TRUE(replica.ok()) << replica.error().message();
  const auto text = open_model_text(path);  // The replica's own tokenizer only decodes.
  ASSERT_TRUE(text.ok()) << text.error().message();
  std::vector<SubmitSequence> work;
  for (uint64_t i = 0; i < 6; ++i) {
    SubmitSequence s;
    s.sequence = SequenceId{i + 1};
    s.prompt = text->tokenizer
                   ->encode(
                       "x = [1, 2, 3]\ny = [1, 2, 3]\nz = [1, 2, 3]\ndef area(w, h):\n    "
                       "return w * h\n# the same again:\ndef area(w, h):\n",
                       {})
                   .value();
    s.tokens_max = 40;
    s.sampling.temperature = i % 2 == 0 ? 0 : 0.7f;
    s.sampling.repetition_penalty = i == 2 ? 1.1f : 1;
    s.sampling.seed = i;
    work.push_back(s);
  }
  const auto want = run(**replica, work);
  for (const bool draft : {false, true}) {
    load.speculative_tokens = 6;
    load.draft_model_path = draft ? path : "";
    load.swap_bytes = 64 << 20;
    replica = load_replica(load, {});
    ASSERT_TRUE(replica.ok()) << replica.error().message();
    const auto got = run(**replica, work);
    ASSERT_EQ(got.size(), want.size());
    for (const auto& [id, result] : got) EXPECT_EQ(result.text, want.at(id).text) << id;
    EXPECT_GT((*replica)->core->stats().speculative_accepted, 20u);
  }
}

}  // namespace
}  // namespace altlas::engine
