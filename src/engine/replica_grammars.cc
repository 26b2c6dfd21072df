// ReplicaCore, sequences that wait for their grammar: one grammar is compiled at a time, beside the
// steps of the others.
#include <fmt/format.h>

#include <utility>

#include "base/check.h"
#include "engine/replica_core.h"

namespace altlas::engine {

// The sequence keeps its place in the order of service: its arrival is that of now.
Result<void> ReplicaCore::wait_for_grammar(SubmitSequence command, uint32_t adapter) {
  if (tokenizer_ == nullptr)
    return invalid("this model has no tokenizer: its text can't be held to a grammar");
  if (held_.size() + batch_.waiting() >= options_.sequences_waiting_max)
    return Error(ErrorCode::kBusy, fmt::format("{} sequences wait, the limit; try again later",
                                               options_.sequences_waiting_max));
  const HeldOrder order{command.turn, batch_.take_arrival()};
  wanted_grammars_[key_of(command.sampling.grammar)].insert(order);
  held_orders_.emplace(command.sequence, order);
  held_.emplace(order, HeldSequence{std::move(command), adapter});
  return {};
}

ReplicaCore::HeldSequence ReplicaCore::take_held(const HeldOrder& order) {
  auto held = held_.extract(order);
  ALTLAS_CHECK(!held.empty(), "a sequence that waits is held");
  held_orders_.erase(held.mapped().command.sequence);
  return std::move(held.mapped());
}

void ReplicaCore::cancel_held(SequenceId id) {
  const auto found = held_orders_.find(id);
  if (found == held_orders_.end()) return;
  const HeldOrder order = found->second;
  const HeldSequence held = take_held(order);
  const auto wanted = wanted_grammars_.find(key_of(held.command.sampling.grammar));
  wanted->second.erase(order);
  if (wanted->second.empty()) wanted_grammars_.erase(wanted);
  reports_.push_back(SequenceCanceled{id, static_cast<uint32_t>(held.command.generated.size())});
}

std::optional<Grammar> ReplicaCore::take_grammar_job() {
  if (compiling_ || held_.empty()) return std::nullopt;
  const Grammar& wanted = held_.begin()->second.command.sampling.grammar;
  compiling_ = key_of(wanted);
  return Grammar{wanted.kind, wanted.text};
}

void ReplicaCore::grammar_compiled(const CompiledGrammar& compiled) {
  ALTLAS_CHECK(compiling_, "what was compiled was asked for");
  const GrammarKey key = *std::exchange(compiling_, std::nullopt);
  if (compiled.ok()) grammars_.keep(key, *compiled);
  const auto wanted = wanted_grammars_.extract(key);  // Empty: those who asked were cancelled.
  if (!wanted.empty())
    for (const HeldOrder& order : wanted.mapped()) {
      HeldSequence held = take_held(order);
      const SequenceId id = held.command.sequence;
      const Result<void> begun = compiled.ok()
                                     ? begin(held.command, held.adapter, *compiled, order.arrival)
                                     : Result<void>(compiled.error());
      if (!begun.ok())
        reports_.push_back(SequenceFailed{id, begun.error().code(), begun.error().message()});
    }
  say_drained();
}

}  // namespace altlas::engine
