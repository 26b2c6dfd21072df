// SequenceOutput: what a sequence has said so far, token by token, until it ends.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "task/task.h"
#include "text/detokenizer.h"
#include "text/stop.h"
#include "text/tokenizer/tokenizer.h"

namespace altlas::engine {

// State is a function of (sampling, tokens_max, tokens pushed): replaying a sequence's tokens leads
// to the same place. One thread at a time.
class SequenceOutput {
 public:
  // `tokenizer`: outlives it; null: token 7 reads " t7", and none ends the generation.
  // Errors: kInvalid for bad stop strings.
  static Result<SequenceOutput> create(const text::Tokenizer* tokenizer,
                                       const SamplingParams& sampling, int32_t tokens_max);

  // The next token; nothing changes once finished. min_tokens come before an end-of-generation
  // token or a stop string ends it; what is said before the last of them is not searched for stop
  // strings.
  void push(int32_t token);

  // Ends here, as an end-of-generation token would: nothing can follow.
  void end();

  bool finished() const { return reason_ != FinishReason::kNone; }
  FinishReason finish_reason() const { return reason_; }
  const std::string& stop_string() const { return stop_string_; }
  int32_t stop_token() const { return stop_token_; }  // As TaskResult has it.
  uint32_t tokens() const { return tokens_; }
  // All text that is certain: whole UTF-8 without any part of a stop string.
  const std::string& text() const { return text_; }
  // Bytes of text() that came before the end let out what was held back.
  uint64_t bytes_before_end() const { return finished() ? bytes_before_end_ : text_.size(); }

 private:
  SequenceOutput() = default;
  void finish(FinishReason reason);
  void say(const std::string& piece);

  const text::Tokenizer* tokenizer_ = nullptr;
  std::optional<text::Detokenizer> detokenizer_;  // Empty without a tokenizer.
  text::StopStrings stops_;
  std::vector<std::string> stop_texts_;
  std::vector<int32_t> stop_tokens_;  // Sorted.
  bool ignore_eos_ = false;
  uint32_t min_tokens_ = 0;
  uint32_t tokens_max_ = 0;
  uint32_t tokens_ = 0;
  FinishReason reason_ = FinishReason::kNone;
  std::string stop_string_;
  int32_t stop_token_ = -1;
  std::string text_;
  uint64_t bytes_before_end_ = 0;
};

}  // namespace altlas::engine
