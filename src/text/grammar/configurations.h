// Configurations: what a text so far may mean to a grammar, as numbers; the automaton that the
// grammar would be if it were finite, made as far as it is used.
#pragma once

#include <bitset>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "text/grammar/program.h"
#include "text/grammar/remembered.h"

namespace altlas::text::grammar {

// A configuration is a set of stacks of rules. One thread at a time.
class Configurations {
 public:
  static constexpr int32_t kDead = 0;

  explicit Configurations(std::shared_ptr<const Program> program);

  // The configuration of the empty text.
  int32_t start();
  // That of a text that stands in `state` with an unknown stack below it: counts are from 0, and
  // where the text leaves the state's rule, `opens` is set.
  int32_t start_at(uint32_t state);
  // After one more byte; kDead if no text of the grammar goes on so. Amortised O(1).
  int32_t next(int32_t configuration, uint8_t byte) {
    const int32_t known = next_[static_cast<size_t>(configuration) * 256 + byte];
    return known != kUnknown ? known : compute_next(configuration, byte);
  }

  struct Frame {
    uint32_t state = 0;
    uint32_t count = 0;
    int32_t below = 0;  // Another frame, kBottom or kOpen.
    uint32_t depth = 0;
    // For a distinct rule the text so far; for a rule that calls one, the set of its texts before.
    uint32_t memory = 0;
    bool repeats = false;  // For a distinct rule: a text of the set below begins so.
  };
  static constexpr int32_t kBottom = -1;
  static constexpr int32_t kOpen = -2;
  struct Configuration {
    std::vector<int32_t> heads;  // Frames with bytes to go on with. Sorted.
    bool is_final = false;       // The text is one of the grammar's.
    bool opens = false;          // See start_at.
    uint32_t rounds = 0;         // start_at a counted rule: rounds begun since, at least.
  };
  const Configuration& at(int32_t configuration) const {
    return configurations_[static_cast<size_t>(configuration)];
  }
  const Frame& frame(int32_t frame) const { return frames_[static_cast<size_t>(frame)]; }
  const Program& program() const { return *program_; }
  uint64_t bytes() const { return bytes_ + remembered_.bytes(); }
  // Frames looked at since the object was made: what next() cost.
  uint64_t work() const { return work_; }

  // A configuration out of `other`, which is of the same program; or one of its heads alone.
  int32_t take_over(const Configurations& other, int32_t configuration);
  int32_t take_over_head(const Configurations& other, int32_t head);
  // How the texts go on that the frame's text must not become.
  const std::vector<std::string>& repetitions(int32_t frame);

 private:
  static constexpr int32_t kUnknown = -1;

  int32_t compute_next(int32_t configuration, uint8_t byte);
  int32_t intern_frame(uint32_t state, uint32_t count, int32_t below, uint32_t memory = 0,
                       bool repeats = false);
  int32_t take_over_frame(const Configurations& other, int32_t frame);
  // Whether a distinct rule's text can still become, or is, one that the set below has not.
  struct Outlook {
    bool goes_on = true;
    bool ends = true;
  };
  Outlook outlook_of(int32_t frame);
  int32_t intern(Configuration configuration);
  // Adds what `frame` leads to without reading a byte.
  void close_over(int32_t frame, Configuration& into);
  void visit(int32_t frame, Configuration& into);
  uint32_t rounds_of(const Configuration& configuration) const;

  const std::shared_ptr<const Program> program_;
  std::vector<Frame> frames_;
  std::unordered_map<uint64_t, std::vector<int32_t>> frame_ids_;  // By hash; looked up only.
  std::vector<Configuration> configurations_;
  std::unordered_map<uint64_t, std::vector<int32_t>> ids_;
  std::vector<int32_t> next_;   // [configuration, 256]
  std::vector<int32_t> open_;   // Frames to visit.
  std::vector<uint32_t> seen_;  // [frame]: the round it was seen in.
  RememberedTexts remembered_;
  uint32_t round_ = 0;
  uint64_t bytes_ = 0;
  uint64_t work_ = 0;
};

}  // namespace altlas::text::grammar
