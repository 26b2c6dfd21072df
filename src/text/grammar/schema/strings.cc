#include "text/grammar/schema/strings.h"

#include <algorithm>
#include <string>
#include <vector>

#include "text/grammar/limits.h"
#include "text/grammar/regex.h"
#include "text/grammar/schema/formats.h"
#include "text/grammar/schema/spelling.h"

namespace altlas::text::grammar::schema {

Result<std::optional<Automaton>> Strings::values(const Set& set) {
  std::optional<Automaton> all;
  const auto narrow = [&](const Automaton& one) -> Result<void> {
    if (!all) {
      all = one;
      return {};
    }
    ALTLAS_TRY(all, intersect(*all, one, context_.budget));
    return {};
  };
  for (const uint32_t s : set) {
    for (const std::string_view keyword : {std::string_view("pattern"), kNotPattern}) {
      const json::value* text = schemas_.find(s, keyword);
      if (text == nullptr) continue;
      const Automaton* one = context_.pattern(text->get_string(), schemas_.path_of(s, keyword));
      if (one == nullptr) continue;
      if (keyword == "pattern") {
        ALTLAS_TRY_VOID(narrow(*one));
        continue;
      }
      ALTLAS_TRY(const Automaton others, complement(*one, context_.budget));
      ALTLAS_TRY_VOID(narrow(others));
    }
    if (const json::value* format = schemas_.find(s, "format")) {
      if (const auto written = format_pattern(format->get_string())) {
        ALTLAS_TRY(const Automaton one, whole_match(*written, context_.budget));
        ALTLAS_TRY_VOID(narrow(one));
      }
    }
    const json::value* out = schemas_.find(s, kNotEnum);
    if (out == nullptr) continue;
    std::vector<ExpressionPtr> texts;
    for (const json::value& value : out->get_array())
      if (value.is_string()) texts.push_back(bytes(std::string(value.get_string())));
    if (texts.empty()) continue;
    ALTLAS_TRY(const Automaton listed, automaton_of(*choice(std::move(texts)), context_.budget));
    ALTLAS_TRY(const Automaton others, complement(listed, context_.budget));
    ALTLAS_TRY_VOID(narrow(others));
  }
  // A complement may have any bytes, so it is limited to UTF-8.
  if (!all) return all;
  ALTLAS_TRY(const Automaton any,
             automaton_of(*repeat(any_character(), 0, kUnlimited), context_.budget));
  ALTLAS_TRY(all, intersect(*all, any, context_.budget));
  return all;
}

Result<std::optional<Automaton>> Strings::language(const Set& set) {
  const Counts length = schemas_.counts_of(set, "minLength", "maxLength");
  ALTLAS_TRY(std::optional<Automaton> values, values(set));
  if (length.min > length.max) return std::optional(Automaton());
  if (length.min == 0 && length.max == kUnlimited) return values;
  const auto any = repeat(any_character(), length.min, length.max);
  CompileBudget part = context_.budget.share();
  auto both = [&]() -> Result<Automaton> {
    ALTLAS_TRY(Automaton lengths, automaton_of(*any, part));
    if (!values) return lengths;
    return intersect(*values, lengths, part);
  }();
  context_.budget.settle(part, !both.ok());
  if (both.ok()) return std::optional(*std::move(both));
  // The message names the keywords that are there: without any the string could not have been too
  // complex.
  for (const uint32_t s : set)
    for (const std::string_view keyword : {"pattern", "format", "maxLength", "minLength"})
      if (schemas_.find(s, keyword) != nullptr) {
        context_.leave_out(Unheld::Why::kTooComplex, schemas_.path_of(s, keyword),
                           both.error().message());
        return values;
      }
  return both.error();
}

Result<std::optional<Automaton>> Strings::text_values(const Goal& goal, size_t depth) {
  if (goal.impossible) return std::optional(Automaton());
  if (depth > kGrammarNestingMax) return context_.wrong("", "choices lie too deep");
  ALTLAS_TRY_VOID(context_.budget.spend(16));
  ALTLAS_TRY(const auto listed, choices_.listed_values(goal.schemas));
  std::vector<ExpressionPtr> parts;
  if (listed) {
    for (const json::value* one : *listed)
      if (one->is_string()) parts.push_back(bytes(std::string(one->get_string())));
  } else {
    ALTLAS_TRY(const auto goals, choices_.alternatives(goal));
    if (!goals) {
      if (!schemas_.types_of(goal.schemas)[kString]) return std::optional(Automaton());
      return language(goal.schemas);
    }
    for (const Goal& one : *goals) {
      ALTLAS_TRY(std::optional<Automaton> part, text_values(one, depth + 1));
      if (!part) return part;
      parts.push_back(embed(*std::move(part)));
    }
  }
  ALTLAS_TRY(Automaton all, automaton_of(*choice(std::move(parts)), context_.budget));
  return std::optional(std::move(all));
}

Result<ExpressionPtr> Strings::value(const Set& set) {
  const Counts length = schemas_.counts_of(set, "minLength", "maxLength");
  if (length.min > length.max) return nothing();
  const auto restricts = [&](uint32_t s) {
    const json::value* format = schemas_.find(s, "format");
    return schemas_.find(s, "pattern") != nullptr || schemas_.find(s, kNotPattern) != nullptr ||
           schemas_.find(s, kNotEnum) != nullptr ||
           (format != nullptr && format_pattern(format->get_string()));
  };
  if (std::ranges::none_of(set, restricts))
    return sequence(
        {bytes("\""), repeat(any_json_character(), length.min, length.max), bytes("\"")});
  ALTLAS_TRY(const std::optional<Automaton> values, language(set));
  if (!values)
    return sequence({bytes("\""), repeat(any_json_character(), 0, kUnlimited), bytes("\"")});
  return sequence({bytes("\""), embed(json_spelling(*values)), bytes("\"")});
}

}  // namespace altlas::text::grammar::schema
