#include "text/grammar/configurations.h"

#include <algorithm>
#include <utility>

#include "base/hash.h"

namespace altlas::text::grammar {

Configurations::Configurations(std::shared_ptr<const Program> program)
    : program_(std::move(program)) {
  intern(Configuration());  // This is kDead.
}

int32_t Configurations::start() {
  Configuration made;
  ++round_;
  close_over(intern_frame(program_->rules[0].start, 0, kBottom), made);
  return intern(std::move(made));
}

int32_t Configurations::start_at(uint32_t state) {
  Configuration made;
  ++round_;
  close_over(intern_frame(state, 0, kOpen), made);
  return intern(std::move(made));
}

int32_t Configurations::compute_next(int32_t configuration, uint8_t byte) {
  Configuration made;
  ++round_;
  const std::vector<int32_t> heads = at(configuration).heads;
  work_ += heads.size();
  for (const int32_t head : heads) {
    const Frame frame = frames_[static_cast<size_t>(head)];
    const auto& edges = program_->states[frame.state].bytes;
    // A counted rule may have two edges for a byte: one of them ends the round.
    for (const Program::ByteEdge& edge : edges) {
      if (edge.lo > byte || edge.hi < byte) continue;
      const uint32_t count = frame.count + (program_->states[edge.to].counts ? 1 : 0);
      uint32_t memory = frame.memory;
      bool repeats = false;
      if (program_->rules[program_->states[edge.to].rule].distinct && frame.below >= 0) {
        memory = remembered_.extended(memory, byte);
        const uint32_t set = frames_[static_cast<size_t>(frame.below)].memory;
        repeats = frame.repeats && !remembered_.continuations(set, memory).empty();
      }
      close_over(intern_frame(edge.to, count, frame.below, memory, repeats), made);
    }
  }
  const int32_t to = intern(std::move(made));
  next_[static_cast<size_t>(configuration) * 256 + byte] = to;
  return to;
}

void Configurations::close_over(int32_t frame, Configuration& into) {
  open_.assign(1, frame);
  for (size_t visits = 0; !open_.empty() && into.heads.size() < kHeadsMax; ++visits) {
    if (visits == 4 * kHeadsMax) return;
    const int32_t one = open_.back();
    open_.pop_back();
    seen_.resize(frames_.size(), 0);
    if (std::exchange(seen_[static_cast<size_t>(one)], round_) == round_) continue;
    ++work_;
    visit(one, into);
  }
}

Configurations::Outlook Configurations::outlook_of(int32_t index) {
  const Frame frame = frames_[static_cast<size_t>(index)];
  Outlook out;
  if (!frame.repeats) return out;
  // How many of the texts that go on from here would be repetitions.
  uint32_t taken = 0;
  for (const std::string& rest : repetitions(index)) {
    uint32_t state = frame.state;
    bool fits = true;
    for (size_t i = 0; fits && i < rest.size(); ++i) {
      const auto byte = static_cast<uint8_t>(rest[i]);
      const auto& edges = program_->states[state].bytes;
      const auto at = std::ranges::lower_bound(edges, byte, {}, &Program::ByteEdge::hi);
      fits = at != edges.end() && at->lo <= byte;
      if (fits) state = at->to;
    }
    taken += fits && program_->states[state].accepts;
    if (rest.empty()) out.ends = false;
  }
  out.goes_on = program_->states[frame.state].texts > taken;
  return out;
}

const std::vector<std::string>& Configurations::repetitions(int32_t index) {
  const Frame& frame = frames_[static_cast<size_t>(index)];
  return remembered_.continuations(frames_[static_cast<size_t>(frame.below)].memory, frame.memory);
}

void Configurations::visit(int32_t index, Configuration& into) {
  const Frame frame = frames_[static_cast<size_t>(index)];
  const Program::State& state = program_->states[frame.state];
  const Program::Rule& rule = program_->rules[state.rule];
  const bool relative = frame.below == kOpen;
  const bool remembered = rule.distinct && frame.below >= 0;
  const Outlook outlook = remembered ? outlook_of(index) : Outlook();
  if (!outlook.goes_on) return;
  const bool may_go_on = !state.counts || relative || frame.count < rule.max;
  if (may_go_on && !state.bytes.empty()) into.heads.push_back(index);
  if (may_go_on && frame.depth < kStackDepthMax) {
    for (const Program::Call& call : state.calls) {
      const Program::State& after = program_->states[call.to];
      const Program::Rule& called = program_->rules[call.rule];
      const uint32_t count = frame.count + (after.counts ? 1 : 0);
      // A call after which nothing is left needs no frame, except for the last frame of an open
      // stack.
      const bool leaves =
          after.leads_nowhere() && after.accepts && !after.counts && !relative && !called.distinct;
      const int32_t below =
          leaves ? frame.below : intern_frame(call.to, count, frame.below, frame.memory);
      open_.push_back(
          intern_frame(called.start, 0, below, 0, called.distinct && frame.memory != 0));
    }
  }
  const bool may_end =
      state.accepts && outlook.ends && (!state.counts || relative || frame.count >= rule.min);
  if (!may_end) return;
  if (frame.below == kBottom) {
    into.is_final = true;
  } else if (frame.below == kOpen) {
    into.opens = true;
  } else if (remembered) {
    const Frame caller = frames_[static_cast<size_t>(frame.below)];
    open_.push_back(intern_frame(caller.state, caller.count, caller.below,
                                 remembered_.with(caller.memory, frame.memory)));
  } else {
    open_.push_back(frame.below);
  }
}

int32_t Configurations::intern_frame(uint32_t state, uint32_t count, int32_t below, uint32_t memory,
                                     bool repeats) {
  const uint64_t hash = Hasher().add(state).add(count).add(below).add(memory).value();
  std::vector<int32_t>& same = frame_ids_[hash];
  for (const int32_t id : same) {
    const Frame& frame = frames_[static_cast<size_t>(id)];
    if (frame.state == state && frame.count == count && frame.below == below &&
        frame.memory == memory)
      return id;
  }
  const uint32_t depth = below < 0 ? 1 : frames_[static_cast<size_t>(below)].depth + 1;
  same.push_back(static_cast<int32_t>(frames_.size()));
  frames_.push_back({state, count, below, depth, memory, repeats});
  bytes_ += sizeof(Frame) + 96;
  return same.back();
}

int32_t Configurations::intern(Configuration made) {
  std::ranges::sort(made.heads);
  Hasher hasher;
  hasher.add(made.is_final).add(made.opens).add(std::span<const int32_t>(made.heads));
  std::vector<int32_t>& same = ids_[hasher.value()];
  for (const int32_t id : same) {
    const Configuration& one = at(id);
    if (one.heads == made.heads && one.is_final == made.is_final && one.opens == made.opens)
      return id;
  }
  made.rounds = rounds_of(made);
  same.push_back(static_cast<int32_t>(configurations_.size()));
  bytes_ += sizeof(Configuration) + 4 * made.heads.size() + 256 * sizeof(int32_t) + 96;
  configurations_.push_back(std::move(made));
  next_.resize(next_.size() + 256, kUnknown);
  if (same.back() == kDead) std::ranges::fill(next_, kDead);
  return same.back();
}

uint32_t Configurations::rounds_of(const Configuration& configuration) const {
  uint32_t least = UINT32_MAX;
  for (int32_t index : configuration.heads) {
    while (frame(index).below >= 0) index = frame(index).below;
    const Frame& last = frame(index);
    if (last.below != kOpen) return 0;
    const Program::State& state = program_->states[last.state];
    const bool inside = program_->rules[state.rule].counted && !state.counts;
    least = std::min(least, last.count + (inside ? 1 : 0));
  }
  return configuration.heads.empty() ? 0 : least;
}

int32_t Configurations::take_over_frame(const Configurations& other, int32_t frame) {
  std::vector<Frame> stack;
  for (int32_t index = frame; index >= 0; index = stack.back().below)
    stack.push_back(other.frame(index));
  int32_t below = kBottom;
  for (size_t i = stack.size(); i-- > 0;) {
    const Frame& one = stack[i];
    uint32_t memory = 0;
    bool repeats = one.repeats;
    if (one.memory != 0 && program_->rules[program_->states[one.state].rule].distinct) {
      // The text is taken step by step, since repetitions are found along it.
      const uint32_t set = frames_[static_cast<size_t>(below)].memory;
      for (const char byte : other.remembered_.text(one.memory)) {
        memory = remembered_.extended(memory, static_cast<uint8_t>(byte));
        repeats = repeats && !remembered_.continuations(set, memory).empty();
      }
    } else if (one.memory != 0) {
      for (const std::string& text : other.remembered_.texts(one.memory))
        memory = remembered_.with(memory, remembered_.text_of(text));
    }
    below = intern_frame(one.state, one.count, below, memory, repeats);
  }
  return below;
}

int32_t Configurations::take_over(const Configurations& other, int32_t configuration) {
  const Configuration& theirs = other.at(configuration);
  Configuration made;
  made.is_final = theirs.is_final;
  for (const int32_t head : theirs.heads) made.heads.push_back(take_over_frame(other, head));
  return intern(std::move(made));
}

int32_t Configurations::take_over_head(const Configurations& other, int32_t head) {
  Configuration made;
  made.heads.push_back(take_over_frame(other, head));
  return intern(std::move(made));
}

}  // namespace altlas::text::grammar
