// Outbox: reports that wait for room in the link. What can be said at once is merged, so that a
// slow server costs memory for the text only, not for every step.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>

#include "engine/messages.h"

namespace altlas::worker {

// Merged: neighbouring token deltas of one sequence; of statistics and load progress only the
// newest waits. The order of the rest, and of everything about one sequence, stays.
class Outbox {
 public:
  // Tokens of one merged delta at most, so that it stays far below a frame's limit.
  static constexpr size_t kMergedTokensMax = 4096;

  void push(engine::Report report);
  std::optional<engine::Report> pop();
  size_t size() const { return waiting_.size(); }
  bool empty() const { return waiting_.empty(); }

 private:
  engine::Report& at(uint64_t number) { return waiting_[number - popped_]; }
  void append(engine::Report report, std::optional<uint64_t>* number);
  bool merge(engine::SequenceTokens& tokens);

  std::deque<engine::Report> waiting_;
  uint64_t popped_ = 0;  // waiting_[i] is report number popped_ + i.
  std::map<SequenceId, uint64_t>
      tokens_;  // The last waiting report of a sequence, where it is a delta.
  std::optional<uint64_t> stats_, progress_;  // Numbers of those that wait.
};

}  // namespace altlas::worker
