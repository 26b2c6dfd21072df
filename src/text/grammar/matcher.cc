#include "text/grammar/matcher.h"

#include <algorithm>
#include <utility>

#include "base/drop.h"

namespace altlas::text::grammar {

namespace {

void set(TokenMask& mask, int32_t token) {
  const auto id = static_cast<uint32_t>(token);
  mask[id / 64] |= uint64_t{1} << (id % 64);
}

void clear(TokenMask& mask, int32_t token) {
  const auto id = static_cast<uint32_t>(token);
  mask[id / 64] &= ~(uint64_t{1} << (id % 64));
}

}  // namespace

// What is known of a state, whatever its stack.
struct TokenGrammar::Base {
  // Tokens whose bytes stay in the state's rule, or leave it with their last byte: as a short list,
  // or as bits.
  std::vector<int32_t> few;
  TokenMask many;
  // For counted rules: (rounds begun, token) of all such tokens, those with the fewest rounds
  // first.
  std::vector<std::pair<uint32_t, int32_t>> rounds;
  // Tokens that leave the rule earlier, as a tree in preorder. Whether they fit depends on the
  // stack.
  std::vector<TokenTrie::Node> pending;
  uint64_t bytes = 0;
};

struct TokenGrammar::Store {
  explicit Store(std::shared_ptr<const Program> program) : configurations(std::move(program)) {}
  Configurations configurations;
  std::map<uint32_t, Base> bases;             // By state.
  std::map<int32_t, TokenMaskPtr> masks;      // By configuration, without ends.
  std::map<int32_t, TokenMaskPtr> end_masks;  // With ends; of final configurations only.
  uint64_t bytes = 0;                         // The bytes of bases and masks.
  // The limit of the configurations' work for the present mask.
  uint64_t work_max = 0;
};

TokenGrammar::TokenGrammar(std::shared_ptr<const Program> program,
                           std::shared_ptr<const TokenTrie> trie)
    : program_(std::move(program)),
      trie_(std::move(trie)),
      store_(std::make_shared<Store>(program_)) {}

TokenGrammar::~TokenGrammar() = default;

uint64_t TokenGrammar::bytes() const {
  return program_->bytes + store_->bytes + store_->configurations.bytes();
}

void TokenGrammar::make_room() {
  if (store_->bytes + store_->configurations.bytes() > kMatchCacheBytesMax)
    store_ = std::make_shared<Store>(program_);
}

// Walks the whole vocabulary from `state`, over an open stack.
const TokenGrammar::Base& TokenGrammar::base_at(Store& store, uint32_t state) {
  const auto [place, fresh] = store.bases.try_emplace(state);
  Base& base = place->second;
  if (!fresh) return base;
  Configurations& all = store.configurations;
  const Program::Rule& rule = program_->rules[program_->states[state].rule];
  const auto nodes = trie_->nodes();
  struct Level {
    int32_t configuration = 0;
    bool opens = false;    // The rule may end here.
    bool outside = false;  // The rule may have ended before, as far as single bytes tell.
  };
  std::vector<Level> levels(trie_->depth_max() + 1);
  levels[0].configuration = all.start_at(state);
  levels[0].opens = all.at(levels[0].configuration).opens;
  std::vector<uint32_t> ancestors(trie_->depth_max() + 1);
  std::vector<char> listed(trie_->depth_max() + 1, 0);
  for (uint32_t i = 0; i < nodes.size() && all.work() <= store.work_max;) {
    const TokenTrie::Node& node = nodes[i];
    const Level& before = levels[node.depth - 1];
    ancestors[node.depth] = i;
    listed[node.depth] = 0;
    const bool outside = before.outside || (before.opens && rule.follow[node.byte]);
    const int32_t to = all.next(before.configuration, node.byte);
    if (to == Configurations::kDead) {
      if (outside) {
        for (uint32_t d = 1; d < node.depth; ++d) {
          if (std::exchange(listed[d], 1)) continue;
          TokenTrie::Node ancestor = nodes[ancestors[d]];
          ancestor.token_count = 0;
          base.pending.push_back(ancestor);
        }
        base.pending.insert(base.pending.end(), nodes.begin() + i, nodes.begin() + node.end);
      }
      i = node.end;
      continue;
    }
    const Configurations::Configuration& there = all.at(to);
    levels[node.depth] = {to, there.opens, outside};
    for (uint32_t t = 0; t < node.token_count; ++t) {
      base.few.push_back(trie_->tokens()[node.first_token + t]);
      if (rule.counted) base.rounds.emplace_back(there.rounds, base.few.back());
    }
    ++i;
  }
  // In `pending` a node's `end` is the next node that is not deeper, counted within `pending`.
  std::vector<uint32_t> open;
  for (uint32_t i = 0; i <= base.pending.size(); ++i) {
    const uint32_t depth = i < base.pending.size() ? base.pending[i].depth : 0;
    while (!open.empty() && base.pending[open.back()].depth >= depth) {
      base.pending[open.back()].end = i;
      open.pop_back();
    }
    open.push_back(i);
  }
  std::ranges::sort(base.rounds);
  if (base.few.size() > trie_->rows() / 64) {
    base.many.resize((trie_->rows() + 63) / 64);
    for (const int32_t token : base.few) set(base.many, token);
    drop(base.few);
  }
  base.few.shrink_to_fit();
  base.bytes = sizeof base + 4 * base.few.size() + 8 * base.many.size() + 8 * base.rounds.size() +
               sizeof(TokenTrie::Node) * base.pending.size();
  store.bytes += base.bytes;
  return base;
}

void TokenGrammar::add_base(const Base& base, uint32_t rounds_left, TokenMask& out) const {
  if (!base.rounds.empty() && base.rounds.back().first > rounds_left) {
    const auto over = std::ranges::upper_bound(base.rounds, rounds_left, {},
                                               &std::pair<uint32_t, int32_t>::first);
    for (auto at = base.rounds.begin(); at != over; ++at) set(out, at->second);
    return;
  }
  for (const int32_t token : base.few) set(out, token);
  for (size_t w = 0; w < base.many.size(); ++w) out[w] |= base.many[w];
}

namespace {

// Sets the bits of tokens whose bytes lead somewhere, for a tree in preorder.
void walk(Configurations& all, std::span<const TokenTrie::Node> nodes,
          std::span<const int32_t> tokens, uint64_t work_max, std::vector<int32_t>& levels,
          TokenMask& out) {
  for (uint32_t i = 0; i < nodes.size() && all.work() <= work_max;) {
    const TokenTrie::Node& node = nodes[i];
    const int32_t to = all.next(levels[node.depth - 1], node.byte);
    if (to == Configurations::kDead) {
      i = node.end;
      continue;
    }
    levels[node.depth] = to;
    for (uint32_t t = 0; t < node.token_count; ++t) set(out, tokens[node.first_token + t]);
    ++i;
  }
}

}  // namespace

void TokenGrammar::walk_pending(Configurations& all, uint64_t work_max, const Base& base,
                                int32_t configuration, TokenMask& out) const {
  if (base.pending.empty()) return;
  std::vector<int32_t> levels(trie_->depth_max() + 1);
  levels[0] = configuration;
  walk(all, base.pending, trie_->tokens(), work_max, levels, out);
}

void TokenGrammar::walk_all(Configurations& all, uint64_t work_max, int32_t configuration,
                            TokenMask& out) const {
  std::vector<int32_t> levels(trie_->depth_max() + 1);
  levels[0] = configuration;
  walk(all, trie_->nodes(), trie_->tokens(), work_max, levels, out);
}

// Removes tokens that the state's base allows but the head does not: those along a text that must
// not be repeated.
void TokenGrammar::drop_repetitions(Configurations& all, const Configurations& from, int32_t head,
                                    TokenMask& out) const {
  const int32_t start = all.take_over_head(from, head);
  const auto nodes = trie_->nodes();
  const std::vector<std::string> rests = all.repetitions(all.at(start).heads[0]);
  for (const std::string& rest : rests) {
    int32_t at = start;
    uint32_t begin = 0, end = static_cast<uint32_t>(nodes.size());
    for (const char c : rest) {
      uint32_t child = begin;
      while (child < end && nodes[child].byte != static_cast<uint8_t>(c)) child = nodes[child].end;
      if (child >= end || all.work() > kRememberingWorkMax) break;
      at = all.next(at, static_cast<uint8_t>(c));
      if (at == Configurations::kDead) {
        for (uint32_t i = child; i < nodes[child].end; ++i)
          for (uint32_t t = 0; t < nodes[i].token_count; ++t)
            clear(out, trie_->tokens()[nodes[i].first_token + t]);
        break;
      }
      begin = child + 1;
      end = nodes[child].end;
    }
  }
}

bool TokenGrammar::fill_remembering(Store& store, int32_t configuration, TokenMask& out) {
  const Configurations& known = store.configurations;
  Configurations walked(program_);
  const int32_t start = walked.take_over(known, configuration);
  const std::vector<int32_t> heads = known.at(configuration).heads;
  const auto all_walked = [&] {
    walk_all(walked, kRememberingWorkMax, start, out);
    return walked.work() <= kRememberingWorkMax;
  };
  for (const int32_t head : heads) {
    const Configurations::Frame frame = known.frame(head);
    const Program::Rule& rule = program_->rules[program_->states[frame.state].rule];
    if (rule.remembers) return all_walked();  // Its base was made for an unknown set.
    const Base& base = base_at(store, frame.state);
    const uint32_t left = rule.counted ? rule.max - frame.count : UINT32_MAX;
    if (!base.rounds.empty() && base.rounds.back().first > left && !rule.ends_clearly)
      return all_walked();
    TokenMask one(out.size());
    add_base(base, left, one);
    if (frame.repeats) drop_repetitions(walked, known, head, one);
    for (size_t w = 0; w < out.size(); ++w) out[w] |= one[w];
    walk_pending(walked, kRememberingWorkMax, base, start, out);
    if (store.configurations.work() > store.work_max) {
      store.bases.erase(frame.state);  // The base may be incomplete.
      return false;
    }
  }
  return walked.work() <= kRememberingWorkMax;
}

// Returns false if it takes too much work.
bool TokenGrammar::fill(Store& store, int32_t configuration, TokenMask& out) {
  Configurations& all = store.configurations;
  store.work_max = all.work() + kMaskWorkMax;
  const std::vector<int32_t> heads = all.at(configuration).heads;
  const auto remembers = [&](int32_t head) {
    for (; head >= 0; head = all.frame(head).below)
      if (program_->rules[program_->states[all.frame(head).state].rule].remembers) return true;
    return false;
  };
  if (program_->remembers && std::ranges::any_of(heads, remembers))
    return fill_remembering(store, configuration, out);
  std::vector<uint32_t> states;
  for (const int32_t head : heads) {
    const Configurations::Frame frame = all.frame(head);
    const Program::State& state = program_->states[frame.state];
    const Program::Rule& rule = program_->rules[state.rule];
    const Base& base = base_at(store, frame.state);
    const uint32_t left = rule.counted ? rule.max - frame.count : UINT32_MAX;
    if (!base.rounds.empty() && base.rounds.back().first > left && !rule.ends_clearly) {
      walk_all(all, store.work_max, configuration, out);
      return all.work() <= store.work_max;
    }
    add_base(base, left, out);
    // Equal pending tokens need one walk, which starts at the configuration.
    if (std::ranges::find(states, frame.state) == states.end()) {
      states.push_back(frame.state);
      walk_pending(all, store.work_max, base, configuration, out);
    }
    if (all.work() > store.work_max) {
      store.bases.erase(frame.state);  // The base may be incomplete.
      return false;
    }
  }
  return true;
}

TokenMaskPtr TokenGrammar::mask(Store& store, int32_t configuration, bool with_end) {
  with_end = with_end && store.configurations.at(configuration).is_final;
  auto& masks = with_end ? store.end_masks : store.masks;
  if (const auto found = masks.find(configuration); found != masks.end()) return found->second;
  TokenMask made;
  if (with_end) {
    const TokenMaskPtr without = mask(store, configuration, false);
    if (without == nullptr) return nullptr;
    made = *without;
    for (const int32_t token : trie_->end_of_generation()) set(made, token);
  } else {
    made.resize((trie_->rows() + 63) / 64);
    if (!fill(store, configuration, made)) return nullptr;
  }
  store.bytes += 8 * made.size() + 128;
  return masks.emplace(configuration, std::make_shared<const TokenMask>(std::move(made)))
      .first->second;
}

Matcher::Matcher(std::shared_ptr<TokenGrammar> grammar)
    : grammar_(std::move(grammar)), store_(grammar_->store_) {
  configuration_ = store_->configurations.start();
}

void Matcher::follow_store() {
  grammar_->make_room();
  if (store_ == grammar_->store_) return;
  const auto before = std::exchange(store_, grammar_->store_);
  configuration_ = store_->configurations.take_over(before->configurations, configuration_);
}

bool Matcher::accept_bytes(std::string_view bytes) {
  follow_store();
  int32_t at = configuration_;
  for (const char c : bytes) at = store_->configurations.next(at, static_cast<uint8_t>(c));
  if (at == Configurations::kDead) return false;
  configuration_ = at;
  return true;
}

bool Matcher::accept(int32_t token) {
  const auto& trie = *grammar_->trie_;
  const std::string_view bytes = trie.bytes_of(token);
  return !bytes.empty() && !trie.is_barred(token) && accept_bytes(bytes);
}

TokenMaskPtr Matcher::allowed(bool with_end) {
  follow_store();
  return grammar_->mask(*store_, configuration_, with_end);
}

bool Matcher::is_final() const { return store_->configurations.at(configuration_).is_final; }
bool Matcher::can_go_on() const { return !store_->configurations.at(configuration_).heads.empty(); }

}  // namespace altlas::text::grammar
