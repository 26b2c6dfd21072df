#include "engine/replica_core.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <map>

#include "base/philox.h"
#include "engine/test_limits.h"
#include "scheduler/test_ranks.h"

namespace altlas::engine {
namespace {

using ::testing::HasSubstr;

constexpr int32_t kVocabulary = 20;  // Small, so that stop strings occur by chance.

SubmitSequence submit(uint64_t id, uint32_t prompt_tokens, int32_t tokens_max) {
  SubmitSequence s;
  s.sequence = SequenceId{id};
  for (uint32_t i = 0; i < prompt_tokens; ++i)
    s.prompt.push_back(static_cast<int32_t>((i * 7 + id % 3) % 50));
  s.tokens_max = tokens_max;
  s.sampling.seed = id;
  return s;
}

// Everything that was reported of one sequence, checked for gaps and repetitions as it comes.
struct Heard {
  std::vector<int32_t> ids;
  std::string text;
  std::vector<TokenLogprobs> logprobs, prompt_logprobs;
  std::optional<TaskResult> result;
  std::optional<SequenceFailed> failed;
  std::optional<uint32_t> cancelled;
  uint32_t first_index = UINT32_MAX;
  uint64_t first_offset = UINT64_MAX;
};

class Bench {
 public:
  Bench(const ReplicaLimits& l, size_t depth, CoreOptions options = {})
      : core(l, options, nullptr),
        ranks(l.sequences_max, l.block_tokens, l.groups, kVocabulary),
        depth_(depth) {}

  bool step() {
    StepPlan plan = core.plan();
    const bool idle = plan.empty();
    if (!idle) {
      flying_.push_back(std::move(plan));
    } else if (flying_.empty()) {
      listen();
      return false;
    }
    if (idle || flying_.size() >= depth_) {
      const StepResult result = ranks.run(flying_.front());
      flying_.pop_front();
      core.commit(result);
    }
    listen();
    core.check_integrity();
    return true;
  }
  void run() {
    while (step()) {
    }
  }
  void listen() {
    for (Report& report : core.take_reports()) {
      if (auto* tokens = std::get_if<SequenceTokens>(&report))
        hear(heard[tokens->sequence.value], tokens->delta);
      if (auto* finished = std::get_if<SequenceFinished>(&report))
        heard[finished->sequence.value].result = finished->result;
      if (auto* failed = std::get_if<SequenceFailed>(&report))
        heard[failed->sequence.value].failed = *failed;
      if (auto* cancelled = std::get_if<SequenceCanceled>(&report))
        heard[cancelled->sequence.value].cancelled = cancelled->tokens;
      drained += std::holds_alternative<ReplicaDrained>(report) ? 1 : 0;
    }
  }
  static void hear(Heard& h, const TokenDelta& delta) {
    EXPECT_FALSE(h.result || h.failed || h.cancelled) << "nothing is said after the end";
    if (h.first_index == UINT32_MAX) {
      h.first_index = delta.first_index;
      h.first_offset = delta.text_offset;
    }
    EXPECT_EQ(delta.first_index, h.first_index + h.ids.size());
    EXPECT_EQ(delta.text_offset, h.first_offset + h.text.size());
    h.ids.insert(h.ids.end(), delta.ids.begin(), delta.ids.end());
    h.text += delta.text;
    h.logprobs.insert(h.logprobs.end(), delta.logprobs.begin(), delta.logprobs.end());
    EXPECT_TRUE(delta.first_index == 0 || delta.prompt_logprobs.empty());
    if (delta.first_index == 0) h.prompt_logprobs = delta.prompt_logprobs;
  }

  ReplicaCore core;
  scheduler::TestRanks ranks;
  std::map<uint64_t, Heard> heard;
  int drained = 0;

 private:
  const size_t depth_;
  std::deque<StepPlan> flying_;
};

// A load of sequences, some of which meet their stop strings.
std::vector<SubmitSequence> load() {
  std::vector<SubmitSequence> out;
  for (uint64_t id = 1; id <= 12; ++id) {
    out.push_back(submit(id, static_cast<uint32_t>(3 + id * 5 % 30), 24));
    if (id % 2 == 0) out.back().sampling.stop = {"t7 t", " t3", "9 t1"};
    if (id % 3 == 0) out.back().sampling.min_tokens = 9;
  }
  return out;
}

std::map<uint64_t, Heard> run_load(const ReplicaLimits& l, size_t depth,
                                   const std::vector<SubmitSequence>& all) {
  Bench bench(l, depth);
  for (const SubmitSequence& s : all) bench.core.handle(s);
  bench.run();
  for (const auto& [id, h] : bench.heard) {
    EXPECT_TRUE(h.result.has_value()) << id;
    if (h.first_index == UINT32_MAX)
      continue;  // It was replayed to its end: only the result is left.
    EXPECT_EQ(h.result->text.substr(h.first_offset), h.text) << id;
    EXPECT_EQ(h.result->tokens, h.first_index + h.ids.size()) << id;
  }
  return bench.heard;
}

// Goal: text, tokens and end of a sequence are the same alone, in a batch, in any chunks, with any
// depth, and when it had to give way. Method: one load, many replicas.
TEST(ReplicaCore, TextDoesNotDependOnTheBatch) {
  std::map<uint64_t, Heard> alone;
  for (const SubmitSequence& s : load()) alone.merge(run_load(test_limits(), 1, {s}));
  int stopped = 0;
  for (const auto& [id, h] : alone)
    stopped += h.result->finish_reason == FinishReason::kStop ? 1 : 0;
  ASSERT_GT(stopped, 2);
  ASSERT_LT(stopped, 12);
  for (const size_t depth : {1, 2, 3}) {
    for (const auto& l :
         {test_limits(), test_limits(17), test_limits(100, 12, 64), test_limits(40, 3, 5)}) {
      const auto batch = run_load(l, depth, load());
      ASSERT_EQ(batch.size(), alone.size());
      for (const auto& [id, h] : batch) {
        EXPECT_EQ(h.ids, alone[id].ids) << id;
        EXPECT_EQ(h.text, alone[id].text) << id;
        EXPECT_EQ(h.result->stop_string, alone[id].result->stop_string) << id;
        EXPECT_EQ(h.result->finish_reason, alone[id].result->finish_reason) << id;
      }
    }
  }
}

// Goal: guesses and swapped KV change no text, token, log-probability or end, also where a stop
// string or the last token lies among guesses. Method: the load with both kinds of guesses, tight
// and roomy, against each sequence alone.
TEST(ReplicaCore, TextDoesNotDependOnGuessesOrSwap) {
  std::vector<SubmitSequence> all = load();
  for (SubmitSequence& s : all) s.sampling.logprobs = s.sequence.value % 4 == 0 ? 1 : -1;
  std::map<uint64_t, Heard> alone;
  for (const SubmitSequence& s : all) alone.merge(run_load(test_limits(), 1, {s}));
  uint64_t right = 0, swapped = 0;
  for (const uint32_t guesses : {1u, 5u, 9u}) {
    for (const bool draft_model : {false, true}) {
      for (ReplicaLimits l : {test_limits(), test_limits(17), test_limits(40, 3, 5)}) {
        l.draft_model = draft_model;
        l.swap_places = 20;
        CoreOptions options;
        options.speculative_tokens = guesses;
        Bench bench(l, 1, options);
        for (const SubmitSequence& s : all) bench.core.handle(s);
        bench.run();
        ASSERT_EQ(bench.heard.size(), alone.size());
        for (const auto& [id, h] : bench.heard) {
          ASSERT_TRUE(h.result) << id;
          EXPECT_EQ(h.ids, alone[id].ids) << id;
          EXPECT_EQ(h.text, alone[id].text) << id;
          EXPECT_EQ(h.result->text, alone[id].result->text) << id;
          EXPECT_EQ(h.logprobs.size(), alone[id].logprobs.size()) << id;
          EXPECT_EQ(h.result->stop_string, alone[id].result->stop_string) << id;
          EXPECT_EQ(h.result->finish_reason, alone[id].result->finish_reason) << id;
        }
        const ReplicaStats stats = bench.core.stats();
        EXPECT_LE(stats.speculative_accepted, stats.speculative_drafted);
        right += stats.speculative_accepted;
        swapped += stats.swapped_blocks;
      }
    }
  }
  EXPECT_GT(right, 0u);
  EXPECT_GT(swapped, 0u);
}

// Goal: payloads in prompts are read by models with an encoder for them, and by no others.
TEST(ReplicaCore, PayloadsInPrompts) {
  struct Case {
    const char* name;
    bool reads;
    uint32_t places;
    int32_t prompt_logprobs;
    const char* refusal;  // Empty: the sequence runs.
  };
  for (const Case& one : {Case{"a model of text", false, 5, -1, "reads text, and no payloads"},
                          {"no place", true, 0, -1, "takes no place"},
                          {"log-probabilities of places", true, 5, 1, "no log-probabilities"},
                          {"runs", true, 5, -1, ""}}) {
    SCOPED_TRACE(one.name);
    ReplicaLimits l = test_limits();
    l.reads_payloads = one.reads;
    Bench bench(l, 1);
    SubmitSequence s = submit(1, 6, 4);
    s.prompt.add_payload("picture", one.places);
    s.prompt.push_back(3);
    s.sampling.prompt_logprobs = one.prompt_logprobs;
    bench.core.handle(s);
    bench.run();
    const Heard& heard = bench.heard.at(1);
    EXPECT_EQ(heard.failed.has_value(), *one.refusal != 0);
    EXPECT_THAT(heard.failed ? heard.failed->message : "", HasSubstr(one.refusal));
    if (heard.failed) continue;
    EXPECT_EQ(heard.ids, bench.ranks.expected(scheduler::TestRanks::with_payloads(s.prompt),
                                              s.sampling.seed, 4));
  }
  Bench bench(test_limits(), 1);
  SubmitSequence s = submit(1, 6, 4);
  s.prompt.push_back(kTokenPayload);  // A payload's token without a payload is refused.
  bench.core.handle(s);
  bench.run();
  EXPECT_THAT(bench.heard.at(1).failed->message, HasSubstr("token id -3"));
}

// Goal: adapters are told apart in the ranks' requests and in the prefix cache; unknown ones are
// refused by name.
TEST(ReplicaCore, Adapters) {
  CoreOptions options;
  options.adapters = {"one", "two"};
  Bench bench(test_limits(), 1, options);
  for (uint64_t id = 1; id <= 4; ++id) {
    SubmitSequence s = submit(3, 20, 4);  // The prompt is the same each time.
    s.sequence = SequenceId{id};
    s.adapter = std::vector<std::string>{"", "two", "one", "two"}[id - 1];
    bench.core.handle(s);
    const StepPlan plan = bench.core.plan();
    ASSERT_EQ(plan.starts.size(), 1u);
    EXPECT_EQ(plan.starts[0].request->adapter, std::vector<uint32_t>({0, 2, 1, 2})[id - 1]);
    EXPECT_EQ(plan.entries[0].position > 0, id == 4) << "only the second 'two' finds its prefix";
    bench.core.commit(bench.ranks.run(plan));
    bench.run();
  }
  EXPECT_EQ(bench.core.stats().prefix_query_tokens, 80u);
  EXPECT_EQ(bench.core.stats().prefix_hit_tokens, 19u);
  SubmitSequence wrong = submit(9, 5, 5);
  wrong.adapter = "three";
  bench.core.handle(wrong);
  bench.listen();
  EXPECT_EQ(bench.heard[9].failed->code, ErrorCode::kInvalid);
  EXPECT_THAT(bench.heard[9].failed->message,
              HasSubstr("no adapter 'three' here; there are: one, two"));
}

// Goal: what never fits the KV cache is refused with the numbers; what fits alone always ends, by
// giving way, swapped or not.
TEST(ReplicaCore, OutOfBlocksNeverAborts) {
  for (const uint32_t places : {0u, 3u, 100u}) {
    ReplicaLimits l = test_limits(6, 4, 16);  // 24 tokens.
    l.swap_places = places;
    CoreOptions options;
    options.speculative_tokens = 4;
    Bench bench(l, 1, options);
    for (uint64_t id = 1; id <= 6; ++id) bench.core.handle(submit(id, 4, 20));
    SubmitSequence large = submit(9, 5, 20);
    bench.core.handle(large);
    bench.run();
    EXPECT_THAT(bench.heard[9].failed->message,
                HasSubstr("prompt of 5 tokens + 20 to generate = 25; the KV cache holds 24"));
    for (uint64_t id = 1; id <= 6; ++id) EXPECT_EQ(bench.heard[id].result->tokens, 20u) << id;
    EXPECT_GT(bench.core.stats().preemptions, 0u);
    EXPECT_EQ(bench.core.stats().swapped_blocks > 0, places > 0);
  }
}

// Goal: from any token on, another replica goes on with neither gap nor repetition.
// Method: each sequence of the load, cut after every token; also after the last, when only the end
// was not heard.
TEST(ReplicaCore, ResumesAfterAnyToken) {
  for (const SubmitSequence& whole : load()) {
    const uint64_t id = whole.sequence.value;
    Heard full = run_load(test_limits(), 1, {whole})[id];
    std::string said;
    for (size_t cut = 0; cut <= full.ids.size(); ++cut) {
      SCOPED_TRACE(::testing::Message() << "sequence " << id << " cut after " << cut);
      SubmitSequence rest = whole;
      rest.generated.assign(full.ids.begin(), full.ids.begin() + static_cast<ptrdiff_t>(cut));
      const Heard h = run_load(test_limits(), 2, {rest})[id];
      EXPECT_EQ(h.result->text, full.result->text);
      EXPECT_EQ(h.result->tokens, full.result->tokens);
      EXPECT_EQ(h.result->stop_string, full.result->stop_string);
      if (h.first_index == UINT32_MAX) continue;  // There was nothing left to generate.
      EXPECT_EQ(h.first_index, cut);
      EXPECT_EQ(full.result->text.substr(0, h.first_offset) + h.text, full.result->text);
    }
  }
}

// Goal: a cancelled sequence ends within one step and reports how far it came; cancelling an
// unknown one reports nothing.
TEST(ReplicaCore, Cancels) {
  Bench bench(test_limits(), 2);
  bench.core.handle(submit(1, 5, 50));
  bench.core.handle(submit(2, 5, 6));
  for (int i = 0; i < 4; ++i) bench.step();
  bench.core.handle(CancelSequence{SequenceId{1}});
  bench.core.handle(CancelSequence{SequenceId{77}});
  bench.run();
  EXPECT_EQ(bench.heard[1].cancelled, bench.heard[1].ids.size());
  EXPECT_FALSE(bench.heard[1].result);
  EXPECT_FALSE(bench.heard.contains(77));
  EXPECT_TRUE(bench.heard[2].result);
  EXPECT_EQ(bench.core.sequences(), 0u);
}

// Goal: what can't run is answered, with the reason; nothing else is disturbed.
TEST(ReplicaCore, SaysWhyNot) {
  Bench bench(test_limits(10), 1);
  bench.core.handle(submit(1, 5, 5));
  bench.core.handle(submit(1, 5, 5));
  bench.core.handle(submit(2, 39, 2));
  SubmitSequence bad = submit(3, 5, 5);
  bad.prompt = {0, 7, 1000};
  bench.core.handle(bad);
  bench.core.handle(submit(4, 5, 0));
  bad = submit(5, 5, 5);
  bad.sampling.stop = {""};
  bench.core.handle(bad);
  bench.core.handle(submit(6, 0, 5));
  bench.listen();
  EXPECT_EQ(bench.heard[1].failed->code, ErrorCode::kConflict);
  EXPECT_THAT(bench.heard[2].failed->message,
              HasSubstr("39 tokens + 2 to generate = 41; the KV cache holds 40"));
  EXPECT_THAT(bench.heard[3].failed->message,
              HasSubstr("token id 1000; the vocabulary has 0 to 999"));
  for (const uint64_t id : {4, 5, 6})
    EXPECT_EQ(bench.heard[id].failed->code, ErrorCode::kInvalid) << id;
  bench.heard.clear();
  bench.run();
  EXPECT_EQ(bench.heard[1].ids.size(), 5u);
}

// Goal: a draining replica finishes what it has, takes nothing more, and reports once that it is
// empty.
TEST(ReplicaCore, Drains) {
  Bench bench(test_limits(), 1);
  bench.core.handle(submit(1, 5, 5));
  bench.core.handle(DrainReplica{});
  bench.core.handle(submit(2, 5, 5));
  bench.listen();
  EXPECT_EQ(bench.heard[2].failed->code, ErrorCode::kUnavailable);
  EXPECT_EQ(bench.drained, 0);
  bench.run();
  bench.core.handle(DrainReplica{});
  bench.listen();
  EXPECT_TRUE(bench.heard[1].result);
  EXPECT_EQ(bench.drained, 1);
  EXPECT_TRUE(bench.core.drained());
}

// Goal: log-probabilities come one per token where asked for, those of the prompt with the result.
TEST(ReplicaCore, Logprobs) {
  Bench bench(test_limits(), 2);
  SubmitSequence s = submit(1, 30, 6);
  s.sampling.logprobs = 0;
  s.sampling.prompt_logprobs = 0;
  bench.core.handle(s);
  bench.core.handle(submit(2, 9, 6));
  bench.run();
  EXPECT_EQ(bench.heard[1].logprobs.size(), 6u);
  EXPECT_TRUE(bench.heard[2].logprobs.empty());
  ASSERT_EQ(bench.heard[1].result->prompt_logprobs.size(), 29u);
  for (size_t i = 0; i < 29; ++i)
    EXPECT_EQ(bench.heard[1].result->prompt_logprobs[i].id, s.prompt[i + 1]);
}

// Goal: an embedding is drawn from every position of its prompt, whatever the chunks, the prefix
// cache, preemption and generation beside it; it is the sequence's one answer. Method: prompts that
// share a prefix, more than the pool holds at once, beside sequences that generate and go first;
// the ranks abort on a position that is left out.
TEST(ReplicaCore, Embeddings) {
  for (const size_t depth : {1, 2}) {
    ReplicaLimits l = test_limits(/*blocks=*/24);
    l.embedding_size = 2;
    Bench bench(l, depth);
    for (uint64_t id = 0; id < 12; ++id) {
      SubmitSequence s = submit(id, 20 + static_cast<uint32_t>(id), 30);
      s.embeds = id % 3 != 0;
      s.level = s.embeds ? 2 : 0;
      s.turn = s.level * 1000;
      if (s.embeds) s.tokens_max = 0;
      bench.core.handle(s);
      bench.step();
    }
    bench.run();
    for (uint64_t id = 0; id < 12; ++id) {
      SCOPED_TRACE(id);
      const Heard& h = bench.heard[id];
      ASSERT_TRUE(h.result);
      const bool embeds = id % 3 != 0;
      EXPECT_EQ(h.result->tokens, embeds ? 0u : 30u);
      EXPECT_EQ(h.ids.empty(), embeds);
      if (embeds)
        EXPECT_EQ(h.result->embedding, (std::vector<float>{20.0f + static_cast<float>(id), 1}));
      else
        EXPECT_TRUE(h.result->embedding.empty());
    }
    EXPECT_GT(bench.core.stats().preemptions, 0u);
  }
}

// Goal: what a model can't give is refused; an encoder computes each prompt in one step. Method:
// both kinds of sequences on both kinds of models, prompts beside each other that do not fit one
// step.
TEST(ReplicaCore, EncodersAndDecoders) {
  Bench decoder(test_limits(), 1);
  SubmitSequence embeds = submit(1, 9, 0);
  embeds.embeds = true;
  decoder.core.handle(embeds);
  decoder.run();
  EXPECT_THAT(decoder.heard[1].failed->message, HasSubstr("no embeddings"));
  ReplicaLimits l = test_limits();
  l.embedding_size = 2;
  l.generates = false;
  Bench encoder(l, 2);
  encoder.core.handle(submit(1, 9, 5));
  SubmitSequence longest = submit(2, 17, 0);
  longest.embeds = true;
  encoder.core.handle(longest);
  for (uint64_t id = 3; id < 8; ++id) {
    SubmitSequence s = submit(id, 9, 0);
    s.embeds = true;
    encoder.core.handle(s);
  }
  encoder.run();
  EXPECT_THAT(encoder.heard[1].failed->message, HasSubstr("only gives embeddings"));
  EXPECT_THAT(encoder.heard[2].failed->message, HasSubstr("17 tokens"));
  for (uint64_t id = 3; id < 8; ++id) EXPECT_EQ(encoder.heard[id].result->embedding[0], 9.0f);
  EXPECT_EQ(encoder.core.stats().steps, 5u) << "16 tokens a step hold one prompt of 9";
}

// Goal: the statistics are true: memory counts weights and used blocks, and falls back when all
// sequences are over.
TEST(ReplicaCore, Stats) {
  Bench bench(test_limits(), 1);
  bench.core.handle(submit(1, 14, 6));
  bench.step();
  ReplicaStats stats = bench.core.stats();
  EXPECT_EQ(stats.running, 1u);
  EXPECT_EQ(stats.kv_blocks_free, 96u);
  EXPECT_EQ(stats.device_memory_used, std::vector<uint64_t>{1000 + 4 * 64});
  bench.run();
  stats = bench.core.stats();
  EXPECT_EQ(stats.running, 0u);
  EXPECT_EQ(stats.kv_blocks_free, 100u);
  EXPECT_EQ(stats.generated_tokens, 6u);
  EXPECT_EQ(stats.prompt_tokens, 14u);
  EXPECT_EQ(stats.device_memory_used, std::vector<uint64_t>{1000});
  EXPECT_EQ(stats.device_busy_us, std::vector<int64_t>{static_cast<int64_t>(stats.steps)});
}

// Goal: with recurrent layers the texts are those of undisturbed sequences, with swap and without,
// also where there is nothing but states; memory counts all states as held, used or not.
TEST(ReplicaCore, RecurrentLayers) {
  std::map<uint64_t, Heard> alone;
  for (const SubmitSequence& s : load()) alone.merge(run_load(test_limits(), 1, {s}));
  for (const bool blocks : {true, false}) {
    ReplicaLimits l = test_limits(17);
    if (!blocks) l.groups.clear();
    if (!blocks) l.ranks[0].blocks.clear();
    l.groups.push_back({kv::GroupKind::kState, 3, 0, 5000});
    l.ranks[0].blocks.push_back(0);
    l.ranks[0].activations = 3 * 5000;
    for (const uint32_t places : {0u, 20u}) {
      l.swap_places = places;
      Bench bench(l, 2, {.speculative_tokens = 4});
      EXPECT_EQ(bench.core.loaded("").kv_blocks, blocks ? 17u : 0u);
      EXPECT_EQ(bench.core.loaded("").block_tokens, blocks ? 4u : 0u);
      for (const SubmitSequence& s : load()) bench.core.handle(s);
      bench.step();
      const uint64_t used = bench.core.stats().device_memory_used.at(0);
      EXPECT_EQ(used > 16'000, blocks) << "states are no KV blocks";
      bench.run();
      for (const auto& [id, h] : alone) {
        EXPECT_EQ(bench.heard[id].ids, h.ids) << id;
        EXPECT_EQ(bench.heard[id].text, h.text) << id;
      }
      EXPECT_EQ(bench.core.stats().device_memory_used.at(0), 16'000u);
    }
  }
}

// Goal: over a long random life each sequence is answered once, its text whole. Method: 10,000
// steps, seeded; texts compared with a quiet replica's.
TEST(ReplicaCore, RandomLife) {
  Bench bench(test_limits(24, 5, 20), 2);
  PhiloxStream random{77};
  std::map<uint64_t, SubmitSequence> sent;
  uint64_t id = 0;
  for (int i = 0; i < 10'000; ++i) {
    if (bench.core.sequences() < 9 && random.below(6) == 0) {
      ++id;
      SubmitSequence s = submit(id, static_cast<uint32_t>(1 + random.below(40)),
                                static_cast<int32_t>(1 + random.below(40)));
      s.level = static_cast<uint8_t>(random.below(3));
      s.turn = static_cast<TimeUs>(id * 7) + s.level * 100;
      if (random.below(2) == 0) s.sampling.stop = {" t3 t1", "t19"};
      sent[id] = s;
      bench.core.handle(s);
    }
    if (id > 0 && random.below(50) == 0)
      bench.core.handle(CancelSequence{SequenceId{id - random.below(std::min<uint64_t>(id, 8))}});
    bench.step();
  }
  bench.run();
  uint64_t cancelled = 0;
  for (const auto& [key, s] : sent) {
    const Heard& h = bench.heard[key];
    ASSERT_FALSE(h.failed);
    ASSERT_NE(h.result.has_value(), h.cancelled.has_value()) << "exactly one end";
    cancelled += h.cancelled ? 1 : 0;
    const Heard quiet = run_load(test_limits(), 1, {s})[key];
    if (h.result) {
      EXPECT_EQ(h.result->text, quiet.result->text);
    } else {
      EXPECT_TRUE(quiet.text.starts_with(h.text));
    }
  }
  EXPECT_GT(id, 300u);
  EXPECT_GT(cancelled, 10u);
  EXPECT_GT(bench.core.stats().preemptions, 20u);
}

}  // namespace
}  // namespace altlas::engine
