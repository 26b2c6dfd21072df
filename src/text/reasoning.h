// Reasoning: what models write before their answers, between a family's own marks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "task/task.h"
#include "text/tokenizer/tokenizer.h"

namespace altlas::text {

// Marks of a family; empty: it does not reason.
struct ReasoningTags {
  std::string_view begin;
  std::string_view end;
  std::string_view answer = {};  // Begins answers without reasoning, in families that mark them.

  bool given() const { return !end.empty(); }
  std::vector<std::string_view> all() const;
  bool operator==(const ReasoningTags&) const = default;
};

// The marks that a chat template names; of several the first of the table.
ReasoningTags reasoning_of(std::string_view chat_template);

// What a prompt leaves to the answer.
enum class ReasoningStart : uint8_t {
  kNone,       // The answer begins at once.
  kPossible,   // It may begin with reasoning.
  kUnderway,   // The prompt has begun the reasoning.
};
// What a prompt's last text, written by the template, says (spaces at its end don't matter).
ReasoningStart reasoning_start(const ReasoningTags& tags, std::string_view prompt);
// ... or of a message that goes on behind `prompt`.
ReasoningStart reasoning_start(const ReasoningTags& tags, std::string_view prompt,
                               std::string_view message);

// Ids of `marks` that are control tokens, so that texts show them. Sorted.
std::vector<int32_t> control_tokens_of(const Tokenizer& tokenizer,
                                       const std::vector<std::string_view>& marks);

// Leaves the reasoning free of the grammar.
void free_reasoning(ReasoningStart start, const ReasoningTags& tags, const Tokenizer& tokenizer,
                    Grammar& grammar);

}  // namespace altlas::text
