// Goal: a sequence waits for its grammar and holds up nobody: others go on, it can be cancelled,
// keeps its place in the order, and its text does not depend on when the grammar was there. Method:
// the core by hand; a grammar is compiled when the test says so.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "engine/replica_core.h"
#include "engine/sim_executor.h"
#include "engine/test_letters.h"

namespace altlas::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const Grammar kFirst{GrammarKind::kRegex, "(ab|bc){2,3}x[0-9]{3}"};
const Grammar kSecond{GrammarKind::kGbnf, "root ::= \"(\" root \")\" | [0-9]\n"};

struct Heard {
  std::string text;
  size_t tokens = 0;
  std::optional<TaskResult> result;
  std::optional<SequenceFailed> failed;
  std::optional<uint32_t> cancelled;
};

class Bench {
 public:
  explicit Bench(uint32_t slots = 4, CoreOptions options = {}) : tokenizer_(letters()) {
    SimOptions o = letters_model();
    o.sequences_max = slots;
    executor_ = *SimExecutor::create(o, tokenizer_.get(), SimTime::kVirtual, system_clock());
    for (uint32_t id = 1; id <= options.adapters.size(); ++id)
      EXPECT_TRUE(executor_->load_adapter(id, "/adapter").ok());
    core.emplace(executor_->limits(), options, tokenizer_.get());
    compiler_.emplace(core->grammar_compiler());
  }

  void submit(uint64_t id, Grammar grammar = {}, TimeUs turn = 0, std::string adapter = "",
              std::vector<int32_t> generated = {}) {
    SubmitSequence s;
    s.sequence = SequenceId{id};
    s.prompt = {5, 6, 7, static_cast<int32_t>(id % 20)};
    s.tokens_max = 30;
    s.turn = turn;
    s.sampling.seed = id;
    s.sampling.ignore_eos = grammar.kind == GrammarKind::kNone;
    s.sampling.grammar = std::move(grammar);
    s.adapter = std::move(adapter);
    s.generated = std::move(generated);
    core->handle(std::move(s));
    listen();
  }
  void cancel(uint64_t id) {
    core->handle(CancelSequence{SequenceId{id}});
    listen();
  }
  // Compiles what the core asked for.
  void compile(const Grammar& job) {
    core->grammar_compiled(compiler_->compile(job));
    listen();
  }
  bool step() {
    StepPlan plan = core->plan();
    if (plan.empty()) return false;
    executor_->launch(std::move(plan));
    core->commit(*executor_->collect());
    listen();
    return true;
  }
  // Until nothing is to be done; compiles as soon as it is asked.
  void run() {
    do {
      while (const auto job = core->take_grammar_job()) compile(*job);
    } while (step());
  }
  void listen() {
    core->check_integrity();
    for (Report& report : core->take_reports()) {
      if (auto* said = std::get_if<SequenceTokens>(&report)) {
        Heard& h = heard[said->sequence.value];
        if (h.tokens == 0) order.push_back(said->sequence.value);
        h.tokens += said->delta.ids.size();
        h.text += said->delta.text;
      }
      if (auto* done = std::get_if<SequenceFinished>(&report))
        heard[done->sequence.value].result = done->result;
      if (auto* failed = std::get_if<SequenceFailed>(&report))
        heard[failed->sequence.value].failed = *failed;
      if (auto* cancelled = std::get_if<SequenceCanceled>(&report))
        heard[cancelled->sequence.value].cancelled = cancelled->tokens;
      drained = drained || std::holds_alternative<ReplicaDrained>(report);
    }
  }

  std::optional<ReplicaCore> core;
  std::map<uint64_t, Heard> heard;
  std::vector<uint64_t> order;  // By their first tokens.
  bool drained = false;

 private:
  std::unique_ptr<const text::Tokenizer> tokenizer_;
  std::unique_ptr<SimExecutor> executor_;
  std::optional<GrammarCompiler> compiler_;
};

TEST(ReplicaGrammars, OthersGoOnWhileOneIsCompiled) {
  Bench bench;
  bench.submit(1, kFirst);
  bench.submit(2);
  const auto job = bench.core->take_grammar_job();
  ASSERT_TRUE(job);
  EXPECT_EQ(*job, kFirst);
  EXPECT_EQ(bench.core->stats().waiting, 2u) << "it is among those that wait";
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(bench.step());
  EXPECT_EQ(bench.heard[2].tokens, 10u);
  EXPECT_EQ(bench.heard[1].tokens, 0u);
  bench.compile(*job);
  bench.run();
  EXPECT_EQ(bench.heard[1].result->finish_reason, FinishReason::kStop);
  EXPECT_EQ(bench.heard[2].tokens, 30u);
  EXPECT_EQ(bench.core->sequences(), 0u);
}

TEST(ReplicaGrammars, TextsDoNotDependOnWhenTheyWereCompiled) {
  Bench alone;
  alone.submit(1, kSecond);
  alone.run();
  for (int steps = 0; steps < 35; steps += 3) {
    Bench bench;
    bench.submit(2);
    bench.submit(1, kSecond);
    const auto job = bench.core->take_grammar_job();
    for (int i = 0; i < steps; ++i) bench.step();
    bench.compile(*job);
    bench.run();
    EXPECT_EQ(bench.heard[1].text, alone.heard[1].text) << steps;
  }
}

TEST(ReplicaGrammars, SequencesWithOneGrammarWaitForOneCompile) {
  Bench bench;
  bench.submit(1, kFirst);
  bench.submit(2, kSecond);
  bench.submit(3, kFirst);
  const auto job = bench.core->take_grammar_job();
  EXPECT_EQ(*job, kFirst);
  EXPECT_FALSE(bench.core->take_grammar_job()) << "one at a time";
  bench.submit(4, kFirst);
  bench.compile(*job);
  EXPECT_EQ(bench.core->stats().waiting, 4u);
  while (bench.step()) {
  }
  for (const uint64_t id : {1u, 3u, 4u}) EXPECT_TRUE(bench.heard[id].result) << id;
  EXPECT_FALSE(bench.heard[2].result);
  EXPECT_EQ(*bench.core->take_grammar_job(), kSecond);
  bench.submit(5, kFirst);
  bench.step();
  EXPECT_GT(bench.heard[5].tokens, 0u) << "what is in the cache is used at once";
}

TEST(ReplicaGrammars, CancelledWhileItWaits) {
  Bench bench;
  bench.submit(1, kFirst, 0, "", {3});
  bench.submit(2, kSecond);
  bench.cancel(1);
  EXPECT_EQ(bench.heard[1].cancelled, 1u) << "what an earlier run generated counts";
  const auto job = bench.core->take_grammar_job();
  EXPECT_EQ(*job, kSecond) << "nobody wants the first any more";
  bench.cancel(2);
  EXPECT_EQ(bench.core->sequences(), 0u);
  bench.compile(*job);
  EXPECT_FALSE(bench.step());
  EXPECT_FALSE(bench.core->take_grammar_job());
  bench.submit(3, kSecond);
  EXPECT_TRUE(bench.step()) << "it was compiled, and is kept";
  bench.submit(1, kFirst);
  bench.run();
  EXPECT_TRUE(bench.heard[1].result) << "its id is free again";
}

TEST(ReplicaGrammars, AnErrorEndsThoseWhoWantedItAlone) {
  const Grammar wrong{GrammarKind::kRegex, "(a"};
  Bench bench;
  bench.submit(1, wrong);
  bench.submit(2);
  bench.submit(3, wrong);
  bench.submit(4, kFirst);
  bench.submit(4, kSecond);
  EXPECT_EQ(bench.heard[4].failed->code, ErrorCode::kConflict);
  bench.run();
  for (const uint64_t id : {1u, 3u}) {
    ASSERT_TRUE(bench.heard[id].failed) << id;
    EXPECT_EQ(bench.heard[id].failed->code, ErrorCode::kInvalid);
    EXPECT_THAT(bench.heard[id].failed->message, HasSubstr("')' is missing"));
  }
  EXPECT_TRUE(bench.heard[2].result);
  EXPECT_TRUE(bench.heard[4].result);
}

// Method: a single slot, so that the order of service is the order of first tokens.
TEST(ReplicaGrammars, KeepsItsPlaceInTheOrder) {
  Bench bench(1);
  bench.submit(1);
  bench.step();
  bench.submit(2, kFirst, 5);
  bench.submit(3, {}, 5);
  bench.submit(4, kSecond, 3);
  bench.submit(5, kFirst, 4);
  bench.run();
  EXPECT_THAT(bench.order, ElementsAre(1, 4, 5, 2, 3));
}

TEST(ReplicaGrammars, ADrainWaitsForIt) {
  Bench bench;
  bench.submit(1, kFirst);
  const auto job = bench.core->take_grammar_job();
  bench.core->handle(DrainReplica{});
  bench.submit(2, kFirst);
  EXPECT_EQ(bench.heard[2].failed->code, ErrorCode::kUnavailable);
  EXPECT_FALSE(bench.drained);
  bench.compile(*job);
  bench.run();
  EXPECT_TRUE(bench.heard[1].result);
  EXPECT_TRUE(bench.drained);

  Bench cancelled;
  cancelled.submit(1, kFirst);
  cancelled.core->handle(DrainReplica{});
  cancelled.cancel(1);
  EXPECT_TRUE(cancelled.drained);
}

TEST(ReplicaGrammars, ItsAdapterStays) {
  Bench bench(4, {.adapters = {"one"}});
  bench.submit(1, kFirst, 0, "one");
  bench.core->handle(UnloadAdapter{"one"});
  EXPECT_TRUE(bench.core->take_dropped_adapters().empty());
  bench.run();
  EXPECT_TRUE(bench.heard[1].result);
  EXPECT_THAT(bench.core->take_dropped_adapters(), ElementsAre(1));
}

TEST(ReplicaGrammars, ThoseWhoWaitAreCounted) {
  Bench bench(4, {.sequences_waiting_max = 3});
  for (uint64_t id = 1; id <= 4; ++id) bench.submit(id, id % 2 == 0 ? kFirst : kSecond);
  EXPECT_EQ(bench.heard[4].failed->code, ErrorCode::kBusy);
  bench.run();
  for (uint64_t id = 1; id <= 3; ++id) EXPECT_TRUE(bench.heard[id].result) << id;
}

}  // namespace
}  // namespace altlas::engine
