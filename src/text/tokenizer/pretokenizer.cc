#include "text/tokenizer/pretokenizer.h"

#include <algorithm>
#include <utility>

#include "base/utf8.h"
#include "text/tokenizer/byte_spelling.h"

namespace altlas::text {
namespace {

using Range = std::pair<size_t, size_t>;

// A piece of a word that was cut. The pieces cover the word; some of them matched.
struct Cut {
  Range range;
  bool matched;
};

Result<void> find_cuts(const Regex& regex, std::string_view word, bool invert, WorkBudget& budget,
                       std::vector<Cut>& cuts) {
  cuts.clear();
  for (size_t at = 0; at < word.size();) {
    ALTLAS_TRY(const auto match, regex.find(word, at, budget));
    const size_t begin = match ? match->first : word.size();
    if (begin > at) cuts.push_back({{at, begin}, invert});
    if (match) cuts.push_back({*match, !invert});
    at = match ? match->second : word.size();
  }
  return {};
}

// Like find_cuts, over the letters that stand for the word's bytes. The cuts are places in the word
// itself.
Result<void> find_letter_cuts(const Regex& regex, std::string_view word, bool invert,
                              WorkBudget& budget, std::vector<Cut>& cuts) {
  std::string letters;
  for (const char byte : word) append_utf8(letters, byte_letter(static_cast<uint8_t>(byte)));
  ALTLAS_TRY_VOID(find_cuts(regex, letters, invert, budget, cuts));
  size_t at = 0, byte = 0;  // Cuts cover the letters in order.
  for (Cut& cut : cuts) {
    const size_t begin = byte;
    for (; at < cut.range.second; ++at)
      if (!is_continuation_byte(letters[at])) ++byte;
    cut.range = {begin, byte};
  }
  return {};
}

// Appends the words that `behavior` makes of the cuts, moved by `offset`.
void apply_cuts(const std::vector<Cut>& cuts, SplitBehavior behavior, size_t offset,
                std::vector<Range>& out) {
  const auto put = [&](Range range) {
    out.emplace_back(offset + range.first, offset + range.second);
  };
  bool previous = false;  // Whether the cut before matched.
  for (size_t i = 0; i < cuts.size(); ++i) {
    const Cut& cut = cuts[i];
    switch (behavior) {
      case SplitBehavior::kRemoved:
        if (!cut.matched) put(cut.range);
        break;
      case SplitBehavior::kIsolated:
        put(cut.range);
        break;
      case SplitBehavior::kContiguous:
        if (i > 0 && cut.matched == previous) {
          out.back().second = offset + cut.range.second;
        } else {
          put(cut.range);
        }
        break;
      case SplitBehavior::kMergedWithPrevious:
        if (i > 0 && cut.matched && !previous) {
          out.back().second = offset + cut.range.second;
        } else {
          put(cut.range);
        }
        break;
      case SplitBehavior::kMergedWithNext:
        if (i > 0 && !cut.matched && previous) {
          out.back().second = offset + cut.range.second;
        } else {
          put(cut.range);
        }
        break;
    }
    previous = cut.matched;
  }
}

// Turns spaces into `mark`, and puts one before the words that `scheme` names.
Result<void> mark_spaces(const SplitStep& step, bool at_start, WorkBudget& budget,
                         SplitText& text) {
  SplitText next;
  const auto spaces = static_cast<size_t>(std::ranges::count(text.text, ' '));
  ALTLAS_TRY_VOID(budget.spend((spaces + text.words.size()) * step.pattern.size()));
  next.text.reserve(text.text.size() + text.text.size() / 2);
  for (const auto& [begin, end] : text.words) {
    const size_t from = next.text.size();
    const std::string_view word = std::string_view(text.text).substr(begin, end - begin);
    const bool marked = word.starts_with(' ') || word.starts_with(step.pattern);
    const bool first = at_start && begin == 0;
    if (!marked &&
        (step.prefix == PrefixScheme::kAlways || (step.prefix == PrefixScheme::kFirst && first)))
      next.text += step.pattern;
    for (const char c : word) {
      if (c == ' ') {
        next.text += step.pattern;
      } else {
        next.text += c;
      }
    }
    next.words.emplace_back(from, next.text.size());
  }
  text = std::move(next);
  return {};
}

void prefix_spaces(SplitText& text) {
  SplitText next;
  for (const auto& [begin, end] : text.words) {
    const size_t from = next.text.size();
    if (text.text[begin] != ' ') next.text += ' ';
    next.text.append(text.text, begin, end - begin);
    next.words.emplace_back(from, next.text.size());
  }
  text = std::move(next);
}

}  // namespace

Pretokenizer::Pretokenizer() = default;
Pretokenizer::~Pretokenizer() = default;

Result<std::unique_ptr<const Pretokenizer>> Pretokenizer::create(
    const std::vector<SplitStep>& steps) {
  std::unique_ptr<Pretokenizer> made(new Pretokenizer());
  for (const SplitStep& step : steps) {
    Step compiled{step, nullptr};
    if (step.kind == SplitStep::kPattern && step.is_regex) {
      ALTLAS_TRY(compiled.regex, Regex::create(step.pattern));
    } else if (step.kind != SplitStep::kPrefixSpace) {
      ALTLAS_TRY(compiled.regex, Regex::literal(step.pattern));
    }
    made->steps_.push_back(std::move(compiled));
  }
  return std::unique_ptr<const Pretokenizer>(std::move(made));
}

Result<void> Pretokenizer::split(bool at_start, SplitText& text, WorkBudget& budget) const {
  text.words.clear();
  if (!text.text.empty()) text.words.emplace_back(0, text.text.size());
  std::vector<Cut> cuts;
  for (const Step& step : steps_) {
    ALTLAS_TRY_VOID(budget.spend(text.text.size()));
    if (step.step.kind == SplitStep::kPrefixSpace) {
      prefix_spaces(text);
      continue;
    }
    const bool metaspace = step.step.kind == SplitStep::kMetaspace;
    if (metaspace) ALTLAS_TRY_VOID(mark_spaces(step.step, at_start, budget, text));
    if (metaspace && !step.step.split) continue;
    const SplitBehavior behavior = metaspace ? SplitBehavior::kMergedWithNext : step.step.behavior;
    std::vector<Range> words;
    words.reserve(text.text.size() / 4 + 1);
    for (const auto& [begin, end] : text.words) {
      const std::string_view word = std::string_view(text.text).substr(begin, end - begin);
      const bool invert = !metaspace && step.step.invert;
      if (step.step.on_letters) {
        ALTLAS_TRY_VOID(find_letter_cuts(*step.regex, word, invert, budget, cuts));
      } else {
        ALTLAS_TRY_VOID(find_cuts(*step.regex, word, invert, budget, cuts));
      }
      apply_cuts(cuts, behavior, begin, words);
    }
    text.words = std::move(words);
  }
  return {};
}

}  // namespace altlas::text
