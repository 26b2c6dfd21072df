// Token ids to text as they arrive: only whole characters leave.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/tokenizer/tokenizer.h"

namespace altlas::text {

// State is a function of the ids pushed, so replaying them gives the same pieces. One thread at a
// time.
class Detokenizer {
 public:
  // `tokenizer` must outlive it. `show_control`: control tokens give their spelling instead of
  // nothing. `continues`: the ids follow a prompt, so a space before the first of them is text.
  // `shown`: control tokens, sorted, that give their spelling all the same.
  explicit Detokenizer(const Tokenizer& tokenizer, bool show_control = false,
                       bool continues = false, std::vector<int32_t> shown = {})
      : tokenizer_(&tokenizer),
        show_control_(show_control),
        is_first_(!continues),
        shown_(std::move(shown)) {}

  // The text that became certain with this token; may be empty. Always valid UTF-8: bytes that
  // can't become a character give U+FFFD, one per maximal subpart.
  std::string push(int32_t id);
  // What is left at the end: U+FFFD for an unfinished character, else nothing.
  std::string flush();
  // True while bytes of an unfinished character are held back.
  bool has_pending() const { return !pending_.empty(); }

 private:
  const Tokenizer* tokenizer_;
  bool show_control_;
  bool is_first_;
  std::vector<int32_t> shown_;
  std::string pending_;  // At most 3 bytes between calls.
};

// All of `ids` at once.
std::string decode(const Tokenizer& tokenizer, std::span<const int32_t> ids,
                   bool show_control = false);

}  // namespace altlas::text
