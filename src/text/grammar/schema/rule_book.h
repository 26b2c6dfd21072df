// RuleBook: the rules that a schema becomes, and the white space between their parts.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "text/grammar/expression.h"
#include "text/grammar/schema/context.h"

namespace altlas::text::grammar::schema {

class RuleBook {
 public:
  explicit RuleBook(Context& context) : context_(context) {}

  bool is_full() const;
  // A rule; its expression may be set later.
  uint32_t add(std::string name, ExpressionPtr expression = nullptr);
  void set(uint32_t rule, ExpressionPtr expression);
  // A rule whose texts differ from each other (Program::Rule::distinct). Errors: kInvalid if there
  // are too many rules.
  Result<uint32_t> add_distinct(ExpressionPtr text);
  // Adds the rule that space() refers to; before any expression is made.
  void add_indentation();
  Rules take() { return std::move(rules_); }

  // What may stand after a "{" or ",": nothing, a blank, or a line's end and its indentation.
  ExpressionPtr space() const;
  ExpressionPtr comma() const;

 private:
  Context& context_;
  Rules rules_;
  uint32_t indent_ = 0;
};

}  // namespace altlas::text::grammar::schema
