#include "engine/thinking.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/strings.h"

namespace altlas::engine {

namespace {

using text::grammar::TokenMask;

void set(TokenMask& mask, int32_t token, bool value) {
  const auto id = static_cast<uint32_t>(token);
  const uint64_t bit = uint64_t{1} << (id % 64);
  if (id / 64 < mask.size()) mask[id / 64] = value ? mask[id / 64] | bit : mask[id / 64] & ~bit;
}

TokenMask all_of(uint32_t rows) {
  TokenMask mask((size_t{rows} + 63) / 64, ~uint64_t{0});
  if (rows % 64 != 0) mask.back() = (uint64_t{1} << (rows % 64)) - 1;
  return mask;
}

}  // namespace

Thinking::Thinking(const text::Tokenizer& tokenizer, const Grammar& grammar, uint32_t rows)
    : tokenizer_(&tokenizer),
      rows_(rows),
      begin_(grammar.think_begin),
      end_(grammar.think_end),
      state_(begin_.empty() ? State::kInside : State::kMayBegin) {}

std::optional<std::string_view> Thinking::take(int32_t token) {
  if (state_ == State::kMayBegin) {
    if (token != begin_[begun_]) {
      state_ = State::kOver;
      return std::nullopt;
    }
    if (++begun_ == begin_.size()) state_ = State::kInside;
    return std::string_view();
  }
  const std::string_view bytes = tokenizer_->token_text(token);
  const size_t before = tail_.size();
  tail_ += bytes;
  const size_t at = tail_.find(end_);
  if (at == std::string::npos) {
    if (tail_.size() >= end_.size()) tail_.erase(0, tail_.size() - end_.size() + 1);
    return std::string_view();
  }
  state_ = State::kOver;
  return trim_begin(bytes.substr(at + end_.size() - before));
}

AllowedTokens Thinking::allowed(const text::grammar::Matcher& answer) const {
  if (state_ == State::kInside) return without_tokens_past_end(answer);
  TokenMask mask((size_t{rows_} + 63) / 64);
  set(mask, begin_[begun_], true);
  return std::make_shared<const TokenMask>(std::move(mask));
}

// Where the answer itself may begin with the mark's token, the two could not be told apart, so the
// mask stays.
AllowedTokens Thinking::or_begin(AllowedTokens answer) const {
  if (text::grammar::allows(*answer, begin_[0])) return answer;
  TokenMask mask = *answer;
  mask.resize(std::max(mask.size(), (size_t{rows_} + 63) / 64));
  set(mask, begin_[0], true);
  return std::make_shared<const TokenMask>(std::move(mask));
}

// Forbids tokens that complete the mark and go on into what can't begin an answer.
AllowedTokens Thinking::without_tokens_past_end(const text::grammar::Matcher& answer) const {
  std::shared_ptr<TokenMask> mask;
  for (size_t begun = 1; begun < end_.size(); ++begun) {
    if (!tail_.ends_with(std::string_view(end_).substr(0, begun))) continue;
    const std::string_view rest = std::string_view(end_).substr(begun);
    for (uint32_t id = 0; id < rows_; ++id) {
      const std::string_view bytes = tokenizer_->token_text(static_cast<int32_t>(id));
      if (bytes.size() <= rest.size() || !bytes.starts_with(rest)) continue;
      const std::string_view more = trim_begin(bytes.substr(rest.size()));
      text::grammar::Matcher after = answer;
      if (more.empty() || after.accept_bytes(more)) continue;
      if (mask == nullptr) mask = std::make_shared<TokenMask>(all_of(rows_));
      set(*mask, static_cast<int32_t>(id), false);
    }
  }
  return mask;
}

}  // namespace altlas::engine
