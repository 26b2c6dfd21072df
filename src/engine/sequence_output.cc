#include "engine/sequence_output.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace altlas::engine {

Result<SequenceOutput> SequenceOutput::create(const text::Tokenizer* tokenizer,
                                              const SamplingParams& sampling, int32_t tokens_max) {
  SequenceOutput made;
  made.tokenizer_ = tokenizer;
  if (tokenizer != nullptr)
    made.detokenizer_.emplace(*tokenizer, /*show_control=*/!sampling.skip_special_tokens,
                              /*continues=*/true, sampling.shown_tokens);
  made.stop_tokens_ = sampling.stop_token_ids;
  std::ranges::sort(made.stop_tokens_);
  ALTLAS_TRY(made.stops_, text::StopStrings::create(sampling.stop));
  made.stop_texts_ = sampling.stop;
  made.ignore_eos_ = sampling.ignore_eos;
  made.min_tokens_ = static_cast<uint32_t>(std::max(0, sampling.min_tokens));
  made.tokens_max_ = static_cast<uint32_t>(std::max(0, tokens_max));
  return made;
}

void SequenceOutput::push(int32_t token) {
  if (finished()) return;
  ++tokens_;
  const bool late = tokens_ > min_tokens_;
  const bool stops = late && std::ranges::binary_search(stop_tokens_, token);
  const bool ends = stops || (tokenizer_ != nullptr && !ignore_eos_ && late &&
                              tokenizer_->is_end_of_generation(token));
  if (!ends) say(detokenizer_ ? detokenizer_->push(token) : fmt::format(" t{}", token));
  bytes_before_end_ = text_.size();
  if (finished()) return;
  if (ends) {
    finish(FinishReason::kStop);
    if (stops && stop_string_.empty()) stop_token_ = token;
  } else if (tokens_ >= tokens_max_) {
    finish(FinishReason::kLength);
  }
}

void SequenceOutput::end() {
  if (!finished()) finish(FinishReason::kStop);
}

void SequenceOutput::say(const std::string& piece) {
  if (tokens_ < min_tokens_) {
    text_ += piece;
    return;
  }
  text::StopStrings::Step step = stops_.push(piece);
  text_ += step.emit;
  if (!step.stopped) return;
  reason_ = FinishReason::kStop;
  stop_string_ = stop_texts_[static_cast<size_t>(step.which)];
}

void SequenceOutput::finish(FinishReason reason) {
  if (detokenizer_) say(detokenizer_->flush());
  if (!finished()) {
    text_ += stops_.flush();
    reason_ = reason;
  }
}

}  // namespace altlas::engine
