#include "engine/sequence_output.h"

#include <gtest/gtest.h>

#include <array>

namespace altlas::engine {
namespace {

// A byte-level vocabulary: a, b, c, the two bytes of U+00E9, and an end token.
std::unique_ptr<const text::Tokenizer> tokenizer() {
  text::Vocabulary v;
  v.model = "gpt2";
  v.pre = "qwen2";
  v.tokens = {"a", "b", "c", "\u00c3", "\u00a9", "<|im_end|>"};
  v.types = {1, 1, 1, 1, 1, 3};
  v.eos = 5;
  auto made = text::Tokenizer::create(std::move(v));
  EXPECT_TRUE(made.ok()) << made.error().message();
  return std::move(made).value();
}
constexpr int32_t kA = 0, kB = 1, kC = 2, kHigh = 3, kLow = 4, kEnd = 5;

SequenceOutput output(const text::Tokenizer* t, const SamplingParams& sampling,
                      int32_t tokens_max) {
  return SequenceOutput::create(t, sampling, tokens_max).value();
}

// Goal: only whole characters are said; the end-of-generation token ends the text and adds nothing.
TEST(SequenceOutput, WholeCharactersUntilTheEnd) {
  const auto t = tokenizer();
  SequenceOutput o = output(t.get(), {}, 10);
  o.push(kA);
  o.push(kHigh);
  EXPECT_EQ(o.text(), "a");
  o.push(kLow);
  EXPECT_EQ(o.text(), "a\u00e9");
  o.push(kEnd);
  EXPECT_EQ(o.finish_reason(), FinishReason::kStop);
  EXPECT_EQ(o.tokens(), 4u);
  o.push(kA);
  EXPECT_EQ(o.tokens(), 4u) << "after the end nothing counts";
  EXPECT_EQ(o.text(), "a\u00e9");
}

// Goal: a stop token ends the text without being part of it, even with ignore_eos, but not before
// min_tokens; control tokens are shown where asked for.
TEST(SequenceOutput, StopTokensAndControlTokens) {
  const auto t = tokenizer();
  SamplingParams sampling;
  sampling.stop_token_ids = {kB, kC};
  sampling.ignore_eos = true;
  sampling.min_tokens = 2;
  SequenceOutput o = output(t.get(), sampling, 10);
  for (const int32_t token : {kB, kA, kEnd, kC}) o.push(token);
  EXPECT_EQ(o.text(), "ba");
  EXPECT_EQ(o.finish_reason(), FinishReason::kStop);
  EXPECT_EQ(o.stop_token(), kC);
  EXPECT_EQ(o.stop_string(), "");
  EXPECT_EQ(o.tokens(), 4u);
  sampling.skip_special_tokens = false;
  SequenceOutput shown = output(t.get(), sampling, 10);
  for (const int32_t token : {kA, kEnd, kA, kB}) shown.push(token);
  EXPECT_EQ(shown.text(), "a<|im_end|>a");
  EXPECT_EQ(shown.stop_token(), kB);
  SequenceOutput ended = output(t.get(), {}, 10);
  ended.push(kEnd);
  EXPECT_EQ(ended.stop_token(), -1);
}

// Goal: at tokens_max the text that was held back comes out, an unfinished character as U+FFFD.
TEST(SequenceOutput, LengthLetsOutWhatWasHeld) {
  const auto t = tokenizer();
  SamplingParams sampling;
  sampling.stop = {"abc"};
  SequenceOutput o = output(t.get(), sampling, 3);
  o.push(kA);
  o.push(kB);
  EXPECT_EQ(o.text(), "");
  o.push(kHigh);
  EXPECT_EQ(o.finish_reason(), FinishReason::kLength);
  EXPECT_EQ(o.text(), "ab\uFFFD");
  EXPECT_EQ(o.bytes_before_end(), 0u);
}

// Goal: a stop string ends the text before it and is named.
TEST(SequenceOutput, StopString) {
  const auto t = tokenizer();
  SamplingParams sampling;
  sampling.stop = {"zz", "bc"};
  SequenceOutput o = output(t.get(), sampling, 10);
  for (const int32_t token : {kA, kB, kA, kB, kC, kA}) o.push(token);
  EXPECT_EQ(o.text(), "aba");
  EXPECT_EQ(o.tokens(), 5u);
  EXPECT_EQ(o.stop_string(), "bc");
  EXPECT_EQ(o.finish_reason(), FinishReason::kStop);
}

// Goal: min_tokens holds off stop strings and the end token; ignore_eos the end token for good.
TEST(SequenceOutput, MinTokensAndIgnoreEos) {
  const auto t = tokenizer();
  SamplingParams sampling;
  sampling.stop = {"b"};
  sampling.min_tokens = 3;
  SequenceOutput o = output(t.get(), sampling, 10);
  for (const int32_t token : {kB, kEnd, kA}) o.push(token);
  EXPECT_FALSE(o.finished());
  EXPECT_EQ(o.text(), "ba");
  o.push(kB);
  EXPECT_TRUE(o.finished());
  EXPECT_EQ(o.text(), "ba");

  SamplingParams ignore;
  ignore.ignore_eos = true;
  SequenceOutput p = output(t.get(), ignore, 3);
  for (const int32_t token : {kEnd, kEnd, kA}) p.push(token);
  EXPECT_EQ(p.finish_reason(), FinishReason::kLength);
  EXPECT_EQ(p.text(), "a");
}

TEST(SequenceOutput, RefusesBadStopStrings) {
  SamplingParams sampling;
  sampling.stop = {""};
  EXPECT_EQ(SequenceOutput::create(nullptr, sampling, 1).error().code(), ErrorCode::kInvalid);
}

}  // namespace
}  // namespace altlas::engine
