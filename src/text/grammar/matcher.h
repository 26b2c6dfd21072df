// Matcher: holds a growing text to a grammar, token by token.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "text/grammar/configurations.h"
#include "text/grammar/token_trie.h"

namespace altlas::text::grammar {

// A bit per token: set where the token may come next. Ids beyond it may not.
using TokenMask = std::vector<uint64_t>;
using TokenMaskPtr = std::shared_ptr<const TokenMask>;

inline bool allows(const TokenMask& mask, int32_t token) {
  const auto id = static_cast<uint32_t>(token);
  return id / 64 < mask.size() && (mask[id / 64] >> (id % 64) & 1) != 0;
}

// Work of one mask that is not in a cache; a grammar that needs more is too ambiguous to use.
inline constexpr uint64_t kMaskWorkMax = 2'000'000;
// The same where texts are remembered: every step is a configuration that is used once.
inline constexpr uint64_t kRememberingWorkMax = 100'000;

// A program over a vocabulary, with what was found out about it so far: masks per automaton state
// that hold whatever lies below it on the stack, and masks per configuration. One thread at a time.
class TokenGrammar {
 public:
  TokenGrammar(std::shared_ptr<const Program> program, std::shared_ptr<const TokenTrie> trie);
  ~TokenGrammar();

  // Bytes held; starts afresh before it passes kMatchCacheBytesMax by more than one mask's work.
  uint64_t bytes() const;

 private:
  friend class Matcher;
  struct Base;
  struct Store;
  // The mask without ends of generation, or with them too. Null: too ambiguous.
  TokenMaskPtr mask(Store& store, int32_t configuration, bool with_end);
  bool fill(Store& store, int32_t configuration, TokenMask& out);
  // The same where texts are remembered: what is walked is as good as never met again.
  bool fill_remembering(Store& store, int32_t configuration, TokenMask& out);
  void drop_repetitions(Configurations& all, const Configurations& from, int32_t head,
                        TokenMask& out) const;
  const Base& base_at(Store& store, uint32_t state);
  void add_base(const Base& base, uint32_t rounds_left, TokenMask& out) const;
  void walk_pending(Configurations& all, uint64_t work_max, const Base& base, int32_t configuration,
                    TokenMask& out) const;
  void walk_all(Configurations& all, uint64_t work_max, int32_t configuration,
                TokenMask& out) const;
  void make_room();

  const std::shared_ptr<const Program> program_;
  const std::shared_ptr<const TokenTrie> trie_;
  std::shared_ptr<Store> store_;
};

// One text. State is a function of the tokens accepted. Copies go on apart.
class Matcher {
 public:
  explicit Matcher(std::shared_ptr<TokenGrammar> grammar);

  // False, and nothing changes, if the token may not come next. Control tokens and ends of
  // generation may not.
  bool accept(int32_t token);
  bool accept_bytes(std::string_view bytes);
  // The tokens that may come next; ends of generation among them where the text may end here and
  // `with_end`. Null: the grammar is too ambiguous (kMaskWorkMax).
  TokenMaskPtr allowed(bool with_end);
  // The text is one of the grammar's.
  bool is_final() const;
  // Some byte may follow.
  bool can_go_on() const;

 private:
  void follow_store();

  std::shared_ptr<TokenGrammar> grammar_;
  std::shared_ptr<TokenGrammar::Store> store_;
  int32_t configuration_ = 0;
};

}  // namespace altlas::text::grammar
