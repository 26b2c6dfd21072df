#include "worker/outbox.h"

#include <iterator>
#include <utility>

namespace altlas::worker {

bool Outbox::merge(engine::SequenceTokens& tokens) {
  const auto found = tokens_.find(tokens.sequence);
  if (found == tokens_.end()) return false;
  TokenDelta& first = std::get<engine::SequenceTokens>(at(found->second)).delta;
  TokenDelta& next = tokens.delta;
  const bool follows = first.first_index + first.ids.size() == next.first_index &&
                       first.text_offset + first.text.size() == next.text_offset;
  const bool alike =
      first.logprobs.empty() == next.logprobs.empty() || first.ids.empty() || next.ids.empty();
  if (!follows || !alike || first.ids.size() + next.ids.size() > kMergedTokensMax) return false;
  first.ids.insert(first.ids.end(), next.ids.begin(), next.ids.end());
  first.text += next.text;
  first.logprobs.insert(first.logprobs.end(), std::make_move_iterator(next.logprobs.begin()),
                        std::make_move_iterator(next.logprobs.end()));
  return true;
}

void Outbox::append(engine::Report report, std::optional<uint64_t>* number) {
  if (number != nullptr && *number) {
    at(**number) = std::move(report);
    return;
  }
  if (number != nullptr) *number = popped_ + waiting_.size();
  waiting_.push_back(std::move(report));
}

void Outbox::push(engine::Report report) {
  if (auto* tokens = std::get_if<engine::SequenceTokens>(&report)) {
    if (merge(*tokens)) return;
    tokens_[tokens->sequence] = popped_ + waiting_.size();
    return append(std::move(report), nullptr);
  }
  if (std::holds_alternative<engine::ReplicaStats>(report))
    return append(std::move(report), &stats_);
  if (std::holds_alternative<engine::LoadProgress>(report))
    return append(std::move(report), &progress_);
  if (const auto* finished = std::get_if<engine::SequenceFinished>(&report))
    tokens_.erase(finished->sequence);
  if (const auto* failed = std::get_if<engine::SequenceFailed>(&report))
    tokens_.erase(failed->sequence);
  if (const auto* canceled = std::get_if<engine::SequenceCanceled>(&report))
    tokens_.erase(canceled->sequence);
  append(std::move(report), nullptr);
}

std::optional<engine::Report> Outbox::pop() {
  if (waiting_.empty()) return std::nullopt;
  engine::Report report = std::move(waiting_.front());
  waiting_.pop_front();
  const uint64_t number = popped_++;
  if (stats_ == number) stats_.reset();
  if (progress_ == number) progress_.reset();
  if (const auto* tokens = std::get_if<engine::SequenceTokens>(&report)) {
    const auto found = tokens_.find(tokens->sequence);
    if (found != tokens_.end() && found->second == number) tokens_.erase(found);
  }
  return report;
}

}  // namespace altlas::worker
