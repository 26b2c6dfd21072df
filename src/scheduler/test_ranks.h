// Ranks for tests: they carry out step plans on a pretended KV memory and abort when a plan reads
// what is not there.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/hash.h"
#include "step/step_plan.h"

namespace altlas::scheduler {

// The "model": the next token is a hash of all tokens before it and the seed. The KV value of a
// position is the hash of the tokens up to it; computing a position looks at the values of every
// position that its window shows. A group that keeps state is a recurrent layer: its state is the
// hash of the tokens that went through it, and where there is one the next token is drawn from it.
class TestRanks {
 public:
  TestRanks(uint32_t slots, uint32_t block_tokens, std::vector<kv::GroupSpec> groups,
            int32_t vocabulary = 1000)
      : slots_(slots),
        block_tokens_(block_tokens),
        groups_(std::move(groups)),
        vocabulary_(vocabulary) {}

  static uint64_t extend(uint64_t value, int32_t token) {
    return mix64(value * 31 + static_cast<uint64_t>(token) + 1);
  }
  int32_t next_token(uint64_t value, uint64_t seed) const {
    return static_cast<int32_t>(mix64(value ^ mix64(seed)) % static_cast<uint64_t>(vocabulary_));
  }
  // A token stands for each place of a payload, told apart by what the payload holds.
  static std::vector<int32_t> with_payloads(const Prompt& prompt) {
    std::vector<int32_t> out = prompt.tokens();
    for (const Payload& payload : prompt.payloads())
      for (uint32_t row = 0; row < payload.tokens; ++row)
        out[payload.first + row] = -100 - static_cast<int32_t>(row) * 256 - payload.hash.bytes[0];
    return out;
  }
  // What a sequence generates, computed without any engine.
  std::vector<int32_t> expected(std::span<const int32_t> prompt, uint64_t seed,
                                size_t count) const {
    uint64_t value = 0;
    for (const int32_t token : prompt) value = extend(value, token);
    std::vector<int32_t> out;
    while (out.size() < count) {
      out.push_back(next_token(value, seed));
      value = extend(value, out.back());
    }
    return out;
  }

  StepResult run(const StepPlan& plan) {
    StepResult result{.id = plan.id, .sampled = {}, .busy_us = 1};
    for (const SlotStart& start : plan.starts) begin(start);
    for (const SlotTables& tables : plan.tables)
      for (const kv::TableChange& change : tables.changes) set_table(tables.slot, change);
    for (const kv::BlockSwap& swap : plan.swap_out)
      for (uint32_t i = 0; i < block_tokens_; ++i)
        host_[{swap.group, swap.place, i}] = memory_[{swap.group, swap.block.value, i}];
    for (const kv::BlockCopy& copy : plan.copies) {
      for (uint32_t i = 0; i < block_tokens_; ++i) {
        memory_[{copy.group, copy.to.value, i}] = memory_[{copy.group, copy.from.value, i}];
      }
    }
    for (const kv::BlockSwap& swap : plan.swap_in)
      for (uint32_t i = 0; i < block_tokens_; ++i)
        memory_[{swap.group, swap.block.value, i}] = host_[{swap.group, swap.place, i}];
    int32_t before = -1;
    for (const StepEntry& entry : plan.entries) {
      ALTLAS_CHECK(entry.slot > before, "entries are ordered by slot");
      before = entry.slot;
      // All values of a step are written before any is read, as layers do; so blocks must not be
      // shared within a step.
      write(entry);
    }
    for (const StepEntry& entry : plan.entries) read(entry, result);
    for (const int32_t slot : plan.ends) {
      ALTLAS_CHECK(slots_.at(static_cast<size_t>(slot)).used, "a slot that ends was started");
      slots_[static_cast<size_t>(slot)] = Slot{};
    }
    return result;
  }

 private:
  struct Slot {
    bool used = false;
    uint32_t computed = 0;
    std::vector<int32_t> tokens;
    std::vector<uint64_t> values;  // [position]
    size_t prompt_tokens = 0;
    uint64_t seed = 0;
    bool embeds = false;
    uint32_t pooled = 0;                       // Positions computed since the slot was started.
    std::vector<std::vector<BlockId>> tables;  // [group]
  };
  using Cell = std::tuple<uint32_t, uint32_t, uint32_t>;  // Group, block, offset.

  void begin(const SlotStart& start) {
    Slot& slot = slots_.at(static_cast<size_t>(start.slot));
    ALTLAS_CHECK(!slot.used, "a slot starts when it is free");
    slot.used = true;
    slot.tokens = with_payloads(start.request->prompt);
    slot.prompt_tokens = slot.tokens.size();
    slot.tokens.insert(slot.tokens.end(), start.request->generated.begin(),
                       start.request->generated.end());
    slot.seed = start.request->sampling.seed;
    slot.embeds = start.request->embeds;
    slot.tables.resize(groups_.size());
  }
  void set_table(int32_t at, const kv::TableChange& change) {
    Slot& slot = slots_.at(static_cast<size_t>(at));
    ALTLAS_CHECK(slot.used, "blocks go to a started slot");
    auto& table = slot.tables.at(change.group);
    table.resize(std::max(table.size(), change.first_index + change.blocks.size()));
    std::ranges::copy(change.blocks, table.begin() + change.first_index);
  }
  Cell cell(const Slot& slot, size_t group, uint32_t position) const {
    return {static_cast<uint32_t>(group), slot.tables[group].at(position / block_tokens_).value,
            position % block_tokens_};
  }
  bool is_state(size_t group) const { return groups_[group].kind == kv::GroupKind::kState; }
  Cell state_cell(const Slot& slot, size_t group) const {
    ALTLAS_CHECK(slot.tables[group].size() == 1, "a slot has one state");
    return cell(slot, group, 0);
  }
  // Nothing checks what the state was before: a wrong one gives another text.
  void move_state(const Slot& slot, size_t group, const StepEntry& entry) {
    ALTLAS_CHECK(entry.guesses == 0, "a state can't forget a guess");
    uint64_t& state = memory_[state_cell(slot, group)];
    if (entry.position == 0) state = 0;
    for (uint32_t i = 0; i < entry.tokens.size(); ++i)
      state = extend(state, slot.tokens[entry.position + i]);
  }
  void write(const StepEntry& entry) {
    Slot& slot = slots_.at(static_cast<size_t>(entry.slot));
    ALTLAS_CHECK(slot.used && !entry.tokens.empty(), "an entry has a slot and tokens");
    const auto known = static_cast<uint32_t>(entry.tokens.size()) - entry.guesses;
    for (uint32_t i = 0; i < known; ++i) {
      const uint32_t position = entry.position + i;
      ALTLAS_CHECK(position < slot.tokens.size(), "a token that is known, or was sampled");
      ALTLAS_CHECK(entry.tokens[i] == kTokenPending || entry.tokens[i] == slot.tokens[position] ||
                       (entry.tokens[i] == kTokenPayload && slot.tokens[position] < 0),
                   "the slot's token");
    }
    for (size_t p = slot.values.size(); p < slot.tokens.size(); ++p) {
      slot.values.push_back(extend(p == 0 ? 0 : slot.values[p - 1], slot.tokens[p]));
    }
    for (size_t group = 0; group < groups_.size(); ++group) {
      if (is_state(group)) {
        move_state(slot, group, entry);
        continue;
      }
      uint64_t value = 0;
      for (uint32_t i = 0; i < entry.tokens.size(); ++i) {
        value = i < known ? slot.values[entry.position + i] : extend(value, guess(slot, entry, i));
        memory_[cell(slot, group, entry.position + i)] = value;
      }
    }
  }
  void read(const StepEntry& entry, StepResult& result) {
    Slot& slot = slots_.at(static_cast<size_t>(entry.slot));
    ALTLAS_CHECK(!slot.embeds || entry.position == slot.pooled,
                 "an embedding is drawn from every position, in order");
    slot.pooled += static_cast<uint32_t>(entry.tokens.size());
    const uint32_t end =
        entry.position + static_cast<uint32_t>(entry.tokens.size()) - entry.guesses;
    uint64_t last = slot.values[end - 1];
    for (size_t group = 0; group < groups_.size(); ++group) {
      if (is_state(group)) {
        last = memory_[state_cell(slot, group)];
        continue;
      }
      const uint32_t window = groups_[group].window;
      const uint32_t first =
          window == 0 || entry.position < window ? 0 : entry.position - window + 1;
      for (uint32_t p = first; p < end; ++p) {
        ALTLAS_CHECK(memory_[cell(slot, group, p)] == slot.values[p],
                     "the KV value of the position is there");
      }
    }
    if (!entry.samples && !entry.prompt_logprobs) return;
    SampledToken& sampled = result.sampled.emplace_back();
    sampled.slot = entry.slot;
    sampled.token = -1;
    if (entry.prompt_logprobs) {
      for (uint32_t p = entry.position + 1; p <= end && p < slot.prompt_tokens; ++p) {
        sampled.prompt_logprobs.push_back(
            {.id = slot.tokens[p], .logprob = -static_cast<float>(p), .top = {}});
      }
    }
    if (!entry.samples) return;
    ALTLAS_CHECK(end == slot.tokens.size(), "the last token known gives the next");
    if (slot.embeds) {
      sampled.embedding = {static_cast<float>(end), 1};
      return;
    }
    sampled.token = next_token(last, slot.seed);
    slot.tokens.push_back(sampled.token);
    int32_t given = sampled.token;
    for (uint32_t i = end - entry.position; i < entry.tokens.size(); ++i) {
      if (guess(slot, entry, i) != given) break;
      slot.values.push_back(extend(slot.values.back(), given));
      given = next_token(slot.values.back(), slot.seed);
      sampled.following.push_back({given, {.id = given, .logprob = -1, .top = {}}});
      slot.tokens.push_back(given);
    }
  }
  // The draft model of these ranks is right two times of three.
  int32_t guess(const Slot& slot, const StepEntry& entry, uint32_t i) const {
    if (entry.tokens[i] != kTokenGuessed) return entry.tokens[i];
    const uint32_t position = entry.position + i;
    uint64_t value = 0;
    std::vector<int32_t> tokens(slot.tokens.begin(), slot.tokens.begin() + entry.position + 1);
    for (const int32_t token : tokens) value = extend(value, token);
    for (uint32_t p = entry.position; p + 1 < position; ++p)
      value = extend(value, next_token(value, slot.seed));
    const int32_t right = next_token(value, slot.seed);
    return mix64(value) % 3 == 0 ? (right + 1) % vocabulary_ : right;
  }

  std::vector<Slot> slots_;
  const uint32_t block_tokens_;
  const std::vector<kv::GroupSpec> groups_;
  const int32_t vocabulary_;
  std::map<Cell, uint64_t> memory_;
  std::map<Cell, uint64_t> host_;
};

}  // namespace altlas::scheduler
