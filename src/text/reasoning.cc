#include "text/reasoning.h"

#include <algorithm>

#include "base/strings.h"

namespace altlas::text {

namespace {

constexpr ReasoningTags kTags[] = {
    // gpt-oss. Its channels are looked for before everything else that its template may quote.
    {"<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>",
     "<|channel|>final<|message|>"},
    {"<think>", "</think>"},                         // DeepSeek, Qwen, GLM, MiniMax, Nemotron.
    {"<seed:think>", "</seed:think>"},               // Seed-OSS.
    {"[THINK]", "[/THINK]"},                         // Magistral.
    {"<|START_THINKING|>", "<|END_THINKING|>"},      // Command A.
    {"◁think▷", "◁/think▷"},                         // Kimi.
    {"<|begin_of_thought|>", "<|end_of_thought|>"},  // OpenThinker.
    {"<|inner_prefix|>", "<|inner_suffix|>"},        // Apertus.
    {"<|channel>thought", "<channel|>"},             // Gemma.
    {"<reasoning>", "</reasoning>"},
    {"<thought>", "</thought>"},  // EXAONE.
    {"<thinking>", "</thinking>"},
    {"<thoughts>", "</thoughts>"},
    {"<reason>", "</reason>"},
};

}  // namespace

std::vector<std::string_view> ReasoningTags::all() const {
  std::vector<std::string_view> out;
  for (const std::string_view mark : {begin, end, answer})
    if (!mark.empty()) out.push_back(mark);
  return out;
}

ReasoningTags reasoning_of(std::string_view chat_template) {
  for (const ReasoningTags& tags : kTags)
    if (chat_template.contains(tags.begin) || chat_template.contains(tags.end)) return tags;
  return {};
}

ReasoningStart reasoning_start(const ReasoningTags& tags, std::string_view prompt) {
  if (!tags.given()) return ReasoningStart::kNone;
  const std::string_view text = trim_end(prompt);
  if (text.ends_with(tags.begin)) return ReasoningStart::kUnderway;
  return text.ends_with(tags.end) ? ReasoningStart::kNone : ReasoningStart::kPossible;
}

ReasoningStart reasoning_start(const ReasoningTags& tags, std::string_view prompt,
                               std::string_view message) {
  if (!tags.given()) return ReasoningStart::kNone;
  const size_t end = message.rfind(tags.end), begin = message.rfind(tags.begin);
  if (begin != std::string_view::npos && (end == std::string_view::npos || begin > end))
    return ReasoningStart::kUnderway;
  const bool begun = reasoning_start(tags, prompt) == ReasoningStart::kUnderway;
  return begun && end == std::string_view::npos ? ReasoningStart::kUnderway : ReasoningStart::kNone;
}

std::vector<int32_t> control_tokens_of(const Tokenizer& tokenizer,
                                       const std::vector<std::string_view>& marks) {
  std::vector<int32_t> out;
  for (const std::string_view mark : marks) {
    const auto ids = tokenizer.encode(mark, {.parse_special = true, .continues = true});
    if (!ids.ok()) continue;  // A vocabulary that can't spell the mark has no such token.
    for (const int32_t id : *ids)
      if (tokenizer.is_control(id)) out.push_back(id);
  }
  std::ranges::sort(out);
  const auto doubles = std::ranges::unique(out);
  out.erase(doubles.begin(), doubles.end());
  return out;
}

void free_reasoning(ReasoningStart start, const ReasoningTags& tags, const Tokenizer& tokenizer,
                    Grammar& grammar) {
  if (grammar.kind == GrammarKind::kNone || start == ReasoningStart::kNone) return;
  if (start == ReasoningStart::kPossible) {
    const auto begin = tokenizer.encode(tags.begin, {.parse_special = true, .continues = true});
    if (!begin.ok() || begin->empty()) return;
    grammar.think_begin = *begin;
  }
  grammar.think_end = std::string(tags.end);
}

}  // namespace altlas::text
