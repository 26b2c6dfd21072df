// Goal: a sequence whose output is not finite ends with an error that says so, once what it said
// before is told; others keep their tokens, and what it was computed from is not shared. Method:
// ranks that pretend, whose results the test changes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <map>

#include "engine/replica_core.h"
#include "engine/test_letters.h"
#include "engine/test_limits.h"
#include "scheduler/test_ranks.h"

namespace altlas::engine {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

ReplicaLimits limits() {
  ReplicaLimits l = test_limits(/*blocks=*/100, /*slots=*/4, /*step_tokens=*/32);
  l.vocab_size = 100;
  l.embedding_size = 2;
  return l;
}

struct Heard {
  std::vector<int32_t> ids;
  std::optional<TaskResult> result;
  std::optional<SequenceFailed> failed;
};

// Changes what a slot's step gave.
using Change = std::function<void(SampledToken&)>;

class Bench {
 public:
  explicit Bench(size_t depth, uint32_t guesses = 0, const text::Tokenizer* tokenizer = nullptr)
      : core(limits(), {.model = "tiny.gguf", .speculative_tokens = guesses, .adapters = {"poet"}},
             tokenizer),
        depth_(depth) {}

  void submit(uint64_t id, const std::string& adapter = "", bool embeds = false,
              Grammar grammar = {}) {
    SubmitSequence s;
    s.sequence = SequenceId{id};
    for (int32_t i = 0; i < 9; ++i) s.prompt.push_back(10 + i % 3);
    s.tokens_max = 30;
    s.sampling.seed = id;
    s.sampling.grammar = std::move(grammar);
    s.adapter = adapter;
    s.embeds = embeds;
    core.handle(std::move(s));
    if (const auto wanted = core.take_grammar_job())
      core.grammar_compiled(core.grammar_compiler().compile(*wanted));
  }
  // Until nothing is to be done. change: of the slot's results from the one after `good` on.
  void run(int32_t slot = -1, int good = 0, const Change& change = {}) {
    while (true) {
      StepPlan plan = core.plan();
      const bool idle = plan.empty();
      if (idle && flying_.empty()) break;
      if (!idle) flying_.push_back(std::move(plan));
      if (!idle && flying_.size() < depth_) continue;
      StepResult result = ranks_.run(flying_.front());
      flying_.pop_front();
      for (SampledToken& sampled : result.sampled)
        if (sampled.slot == slot && good-- <= 0) change(sampled);
      core.commit(result);
      core.check_integrity();
    }
    for (Report& report : core.take_reports()) {
      if (auto* said = std::get_if<SequenceTokens>(&report)) {
        Heard& h = heard[said->sequence.value];
        EXPECT_FALSE(h.result || h.failed) << "nothing is said after the end";
        EXPECT_EQ(said->delta.first_index, h.ids.size());
        EXPECT_FALSE(said->delta.ids.empty());
        h.ids.insert(h.ids.end(), said->delta.ids.begin(), said->delta.ids.end());
      }
      if (auto* done = std::get_if<SequenceFinished>(&report))
        heard[done->sequence.value].result = done->result;
      if (auto* failed = std::get_if<SequenceFailed>(&report))
        heard[failed->sequence.value].failed = *failed;
    }
  }

  ReplicaCore core;
  std::map<uint64_t, Heard> heard;

 private:
  const size_t depth_;
  scheduler::TestRanks ranks_{4, 4, limits().groups, 100};
  std::deque<StepPlan> flying_;
};

const Change kBroken = [](SampledToken& sampled) { sampled.finite = false; };

TEST(NotFinite, EndsTheSequenceAlone) {
  Bench quiet(1);
  quiet.submit(1);
  quiet.submit(2);
  quiet.run();
  for (const size_t depth : {1u, 2u, 3u})
    for (const int good : {0, 1, 7}) {
      SCOPED_TRACE(::testing::Message() << depth << " deep, after " << good);
      Bench bench(depth);
      bench.submit(1);
      bench.submit(2);
      bench.run(0, good, kBroken);
      const Heard& broken = bench.heard[1];
      ASSERT_TRUE(broken.failed);
      EXPECT_EQ(broken.failed->code, ErrorCode::kInternal);
      EXPECT_THAT(broken.failed->message, HasSubstr("not finite (NaN or infinity)"));
      EXPECT_THAT(broken.failed->message, HasSubstr("weights of model 'tiny.gguf'"));
      EXPECT_THAT(broken.failed->message, Not(HasSubstr("adapter")));
      EXPECT_EQ(broken.ids.size(), static_cast<size_t>(good));
      EXPECT_TRUE(std::equal(broken.ids.begin(), broken.ids.end(), quiet.heard[1].ids.begin()));
      EXPECT_EQ(bench.heard[2].ids, quiet.heard[2].ids);
      EXPECT_TRUE(bench.heard[2].result);
      EXPECT_EQ(bench.core.stats().not_finite_outputs, 1u);
      EXPECT_EQ(bench.core.sequences(), 0u);
    }
}

TEST(NotFinite, NamesTheAdapter) {
  Bench bench(1);
  bench.submit(1, "poet");
  bench.run(0, 2, kBroken);
  EXPECT_THAT(bench.heard[1].failed->message, HasSubstr("adapter 'poet'"));
}

TEST(NotFinite, EmbeddingsFailAlike) {
  Bench bench(1);
  bench.submit(1, "", /*embeds=*/true);
  bench.submit(2, "", /*embeds=*/true);
  bench.run(0, 0, kBroken);
  EXPECT_THAT(bench.heard[1].failed->message, HasSubstr("not finite"));
  EXPECT_FALSE(bench.heard[1].result);
  EXPECT_EQ(bench.heard[2].result->embedding.size(), 2u);
}

// Goal: the reason is what is not finite, and not that such a token fits no grammar.
TEST(NotFinite, IsSeenBeforeTheGrammar) {
  const auto tokenizer = letters();
  Bench bench(1, 0, tokenizer.get());
  bench.submit(1, "", false, {GrammarKind::kRegex, "[0-9]{8}"});
  bench.run(0, 0, [](SampledToken& sampled) {
    sampled.token = kLettersEnd;
    sampled.finite = false;
  });
  EXPECT_THAT(bench.heard[1].failed->message, HasSubstr("not finite"));
}

// Goal: tokens behind right guesses are said up to the first that is not finite.
TEST(NotFinite, RightGuessesBeforeItCount) {
  Bench quiet(1, 4);
  quiet.submit(1);
  quiet.run();
  bool met = false;
  Bench bench(1, 4);
  bench.submit(1);
  bench.run(0, 0, [&](SampledToken& sampled) {
    if (sampled.following.empty()) return;
    sampled.following.back().finite = false;
    met = true;
  });
  const Heard& h = bench.heard[1];
  EXPECT_EQ(h.failed.has_value(), met);
  EXPECT_TRUE(std::equal(h.ids.begin(), h.ids.end(), quiet.heard[1].ids.begin()));
}

// Goal: nobody begins behind a prompt whose KV may be broken.
TEST(NotFinite, ItsPromptIsNotShared) {
  for (const bool broken : {false, true}) {
    Bench bench(1);
    bench.submit(1);
    bench.run(broken ? 0 : -1, 0, kBroken);
    bench.submit(2);
    bench.run();
    EXPECT_EQ(bench.core.stats().prefix_hit_tokens > 0, !broken);
    EXPECT_TRUE(bench.heard[2].result);
  }
}

}  // namespace
}  // namespace altlas::engine
