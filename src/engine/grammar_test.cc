// Goal: what a replica generates under a grammar is one of its texts, however deep the pipeline and
// wherever it was interrupted, and it ends where nothing can follow. Method: simulated devices,
// which draw evenly among the tokens that the mask leaves, over a vocabulary of single characters.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "engine/grammar_cache.h"
#include "engine/replica_core.h"
#include "engine/sim_executor.h"
#include "engine/test_letters.h"

namespace altlas::engine {
namespace {

using ::testing::HasSubstr;

struct Heard {
  std::vector<int32_t> ids;
  std::string text;
  std::optional<TaskResult> result;
  std::optional<SequenceFailed> failed;
};

class Bench {
 public:
  explicit Bench(uint32_t depth) : tokenizer(letters()) {
    SimOptions o = letters_model();
    o.sequences_max = 3;
    o.depth = depth;
    executor = *SimExecutor::create(o, tokenizer.get(), SimTime::kVirtual, system_clock());
    core = std::make_unique<ReplicaCore>(executor->limits(), CoreOptions{}, tokenizer.get());
  }

  void run() {
    GrammarCompiler compiler = core->grammar_compiler();
    while (true) {
      while (const auto wanted = core->take_grammar_job())
        core->grammar_compiled(compiler.compile(*wanted));
      StepPlan plan = core->plan();
      const bool idle = plan.empty();
      if (idle && executor->in_flight() == 0) break;
      if (!idle) executor->launch(std::move(plan));
      if (idle || executor->in_flight() >= executor->depth()) core->commit(*executor->collect());
      core->check_integrity();
    }
    for (Report& report : core->take_reports()) {
      if (auto* said = std::get_if<SequenceTokens>(&report)) {
        Heard& h = heard[said->sequence.value];
        h.ids.insert(h.ids.end(), said->delta.ids.begin(), said->delta.ids.end());
        h.text += said->delta.text;
      } else if (auto* done = std::get_if<SequenceFinished>(&report)) {
        heard[done->sequence.value].result = done->result;
      } else if (auto* failed = std::get_if<SequenceFailed>(&report)) {
        heard[failed->sequence.value].failed = *failed;
      }
    }
  }

  std::unique_ptr<const text::Tokenizer> tokenizer;
  std::unique_ptr<SimExecutor> executor;
  std::unique_ptr<ReplicaCore> core;
  std::map<uint64_t, Heard> heard;
};

SubmitSequence submit(uint64_t id, Grammar grammar, int32_t tokens_max = 200) {
  SubmitSequence s;
  s.sequence = SequenceId{id};
  s.prompt = {5, 6, 7, static_cast<int32_t>(id % 20)};
  s.tokens_max = tokens_max;
  s.sampling.seed = id;
  s.sampling.grammar = std::move(grammar);
  return s;
}

const Grammar kNumbers{GrammarKind::kRegex, "(ab|bc){2,3}x[0-9]{3}"};
const Grammar kSchema{GrammarKind::kJsonSchema,
                      R"({"type":"object","properties":{"a":{"enum":["ab","bc"]},
                          "b":{"type":"array","items":{"type":"integer","minimum":0,"maximum":99},
                          "maxItems":4}},"required":["a","b"],"additionalProperties":false})"};

bool fits(const Grammar& grammar, std::string_view text) {
  text::grammar::Configurations all(*text::grammar::compile(grammar));
  int32_t at = all.start();
  for (const char c : text) at = all.next(at, static_cast<uint8_t>(c));
  return all.at(at).is_final;
}

TEST(GrammarInReplica, TextsFitAtAnyDepth) {
  std::map<uint64_t, Heard> first;
  for (const uint32_t depth : {1u, 2u, 4u}) {
    Bench bench(depth);
    for (uint64_t id = 1; id <= 12; ++id)
      bench.core->handle(submit(id,
                                id % 3 == 0   ? Grammar()
                                : id % 3 == 1 ? kNumbers
                                              : kSchema,
                                60));
    bench.run();
    for (uint64_t id = 1; id <= 12; ++id) {
      const Heard& h = bench.heard.at(id);
      ASSERT_TRUE(h.result) << id << (h.failed ? h.failed->message : "");
      EXPECT_EQ(h.text, h.result->text);
      const bool held = id % 3 != 0, stopped = h.result->finish_reason == FinishReason::kStop;
      EXPECT_TRUE(!held || !stopped || fits(id % 3 == 1 ? kNumbers : kSchema, h.text)) << h.text;
      EXPECT_TRUE(stopped || id % 3 != 1) << "its texts are short";
    }
    if (depth == 1) first = bench.heard;
    for (const auto& [id, h] : first) EXPECT_EQ(bench.heard.at(id).ids, h.ids) << id;
  }
}

TEST(GrammarInReplica, ResumedTextsGoOnAlike) {
  Bench whole(1);
  whole.core->handle(submit(4, kSchema));
  whole.run();
  const Heard all = whole.heard.at(4);
  ASSERT_EQ(all.result->finish_reason, FinishReason::kStop);
  for (size_t cut = 0; cut <= all.ids.size(); ++cut) {
    Bench rest(2);
    SubmitSequence again = submit(4, kSchema);
    again.generated.assign(all.ids.begin(), all.ids.begin() + static_cast<long>(cut));
    rest.core->handle(std::move(again));
    rest.run();
    EXPECT_EQ(rest.heard.at(4).result->text, all.result->text) << cut;
  }
}

// Goal: an end token may come where the text may end, if min_tokens and ignore_eos allow it; a text
// that nothing can follow ends in any case.
TEST(GrammarInReplica, Ends) {
  const Grammar any{GrammarKind::kRegex, "a*"};
  Bench bench(1);
  bench.core->handle(submit(1, any, 50));
  SubmitSequence later = submit(2, any, 50);
  later.sampling.min_tokens = 20;
  bench.core->handle(later);
  SubmitSequence never = submit(3, any, 50);
  never.sampling.ignore_eos = true;
  bench.core->handle(never);
  SubmitSequence closed = submit(4, {GrammarKind::kRegex, "abc"}, 50);
  closed.sampling.ignore_eos = true;
  closed.sampling.min_tokens = 40;
  bench.core->handle(closed);
  bench.run();
  EXPECT_EQ(bench.heard.at(1).ids.back(), kLettersEnd);
  EXPECT_LT(bench.heard.at(1).ids.size(), 50u);
  EXPECT_GE(bench.heard.at(2).ids.size(), 20u);
  EXPECT_EQ(bench.heard.at(2).ids.back(), kLettersEnd);
  EXPECT_EQ(bench.heard.at(3).ids.size(), 50u);
  EXPECT_EQ(bench.heard.at(3).result->finish_reason, FinishReason::kLength);
  EXPECT_EQ(bench.heard.at(4).text, "abc");
  EXPECT_EQ(bench.heard.at(4).result->finish_reason, FinishReason::kStop);
}

// Goal: the grammar holds for what follows the thinking. Method: models that think before they
// answer (from the first token, or after a mark of their own, of one token or many); whole texts
// and every cut of them.
TEST(GrammarInReplica, HoldsWhatComesBehindTheThinking) {
  struct Row {
    std::string begin, end;
    Grammar grammar;
  };
  for (const Row& row :
       {Row{"", "}}", kNumbers}, Row{"", "bc", kSchema}, Row{"=~", "ab", kNumbers},
        Row{"", "12", {GrammarKind::kRegex, "[0-9]{3}"}}, Row{"#", "z", kSchema}}) {
    Bench whole(1);
    Grammar grammar = row.grammar;
    if (!row.begin.empty()) grammar.think_begin = *whole.tokenizer->encode(row.begin, {});
    grammar.think_end = row.end;
    size_t thought = 0, stopped = 0;
    for (uint64_t id = 1; id <= 40; ++id) whole.core->handle(submit(id, grammar, 400));
    whole.run();
    for (const auto& [id, h] : whole.heard) {
      ASSERT_TRUE(h.result) << id << (h.failed ? h.failed->message : "");
      const bool begins = h.text.starts_with(row.begin);
      const size_t end = begins ? h.text.find(row.end) : std::string::npos;
      thought += begins;
      if (h.result->finish_reason != FinishReason::kStop) continue;
      if (begins && end == std::string::npos) continue;  // The sequence ended within the thinking.
      ++stopped;
      EXPECT_TRUE(fits(row.grammar, begins ? h.text.substr(end + row.end.size()) : h.text))
          << h.text;
    }
    EXPECT_GT(stopped, 3u) << row.end;
    EXPECT_TRUE(row.begin.empty() ? thought == 40 : thought > 0 && thought < 40) << thought;
    for (const uint64_t id : {3u, 8u}) {
      const Heard& all = whole.heard.at(id);
      for (size_t cut = 0; cut < all.ids.size(); cut += 1 + all.ids.size() / 20) {
        Bench rest(2);
        SubmitSequence again = submit(id, grammar, 400);
        again.generated.assign(all.ids.begin(), all.ids.begin() + static_cast<long>(cut));
        rest.core->handle(std::move(again));
        rest.run();
        EXPECT_EQ(rest.heard.at(id).result->text, all.result->text) << cut;
      }
    }
  }
}

TEST(GrammarInReplica, WhatCantBeHeldFails) {
  Bench bench(1);
  bench.core->handle(submit(1, {GrammarKind::kRegex, "(a"}));
  bench.core->handle(submit(2, {GrammarKind::kRegex, "é"}));  // No token spells the character.
  SubmitSequence wrong = submit(3, kNumbers);
  wrong.generated = {3};
  bench.core->handle(wrong);
  bench.run();
  EXPECT_THAT(bench.heard.at(1).failed->message, HasSubstr("')' is missing"));
  EXPECT_THAT(bench.heard.at(2).failed->message, HasSubstr("no token"));
  EXPECT_THAT(bench.heard.at(3).failed->message, HasSubstr("does not fit"));
  EXPECT_EQ(bench.core->sequences(), 0u);

  ReplicaCore blind(bench.executor->limits(), CoreOptions{}, nullptr);
  blind.handle(submit(1, kNumbers));
  const auto reports = blind.take_reports();
  EXPECT_TRUE(std::holds_alternative<SequenceFailed>(reports.at(0)));
}

TEST(GrammarInReplica, TheCacheForgetsTheOldest) {
  const auto tokenizer = letters();
  GrammarCompiler compiler(tokenizer.get(), 200);
  GrammarCache cache;
  EXPECT_EQ(cache.find(kNumbers), nullptr);
  const auto first = *compiler.compile(kNumbers);
  cache.keep(key_of(kNumbers), first);
  EXPECT_EQ(cache.find(kNumbers), first);
  for (size_t i = 0; i < kGrammarsMax; ++i) {
    const Grammar one{GrammarKind::kRegex, "a{" + std::to_string(i) + "}"};
    cache.keep(key_of(one), *compiler.compile(one));
  }
  EXPECT_EQ(cache.find(kNumbers), nullptr);
}

}  // namespace
}  // namespace altlas::engine
