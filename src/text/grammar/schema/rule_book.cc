#include "text/grammar/schema/rule_book.h"

#include "text/grammar/limits.h"

namespace altlas::text::grammar::schema {

bool RuleBook::is_full() const { return rules_.rules.size() >= kGrammarRulesMax; }

uint32_t RuleBook::add(std::string name, ExpressionPtr expression) {
  const uint32_t index = rules_.add(std::move(name));
  rules_.rules[index].expression = std::move(expression);
  return index;
}

void RuleBook::set(uint32_t rule, ExpressionPtr expression) {
  rules_.rules[rule].expression = std::move(expression);
}

Result<uint32_t> RuleBook::add_distinct(ExpressionPtr text) {
  if (is_full()) return context_.wrong("", "needs too many rules");
  context_.expanded = true;
  const uint32_t index = add("different text", std::move(text));
  rules_.rules[index].distinct = true;
  return index;
}

void RuleBook::add_indentation() {
  indent_ = rules_.add("indentation");
  rules_.rules[indent_] = {"indentation", character({{' ', ' '}, {'\t', '\t'}}), true, 0, 20};
}

ExpressionPtr RuleBook::space() const {
  return optional(choice({bytes(" "), sequence({bytes("\n"), rule(indent_)})}));
}

ExpressionPtr RuleBook::comma() const { return sequence({bytes(","), space()}); }

}  // namespace altlas::text::grammar::schema
