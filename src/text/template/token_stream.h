// The tokens of a chat template under the parser's hand.
#pragma once

#include <algorithm>
#include <string_view>
#include <vector>

#include "text/template/ast.h"
#include "text/template/lexer.h"

namespace altlas::text {

class TemplateTokens {
 public:
  explicit TemplateTokens(std::vector<TemplateToken> tokens) : tokens_(std::move(tokens)) {}

  const TemplateToken& peek(size_t ahead = 0) const {
    return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
  }
  TemplateToken next() {
    TemplateToken token = peek();
    if (at_ + 1 < tokens_.size()) ++at_;
    return token;
  }
  bool at(TemplateToken::Kind kind) const { return peek().kind == kind; }
  bool at_operator(std::string_view op) const {
    return at(TemplateToken::Kind::kOperator) && peek().text == op;
  }
  bool at_name(std::string_view name) const {
    return at(TemplateToken::Kind::kName) && peek().text == name;
  }
  bool take_operator(std::string_view op) { return at_operator(op) && (next(), true); }
  bool take_name(std::string_view name) { return at_name(name) && (next(), true); }

  Error error(std::string_view expected) const;
  Result<void> expect_operator(std::string_view op);
  Result<void> expect_name(std::string_view name);
  Result<std::string> expect_any_name(std::string_view what);
  Result<void> expect(TemplateToken::Kind kind, std::string_view what);

 private:
  std::vector<TemplateToken> tokens_;
  size_t at_ = 0;
};

// A whole expression. `allow_condition` false stops before "if" (as in {% for x in y if z %}).
Result<ExprPtr> parse_expression(TemplateTokens& tokens, bool allow_condition = true);
// As parse_expression, but "a, b" is a tuple.
Result<ExprPtr> parse_tuple(TemplateTokens& tokens, bool allow_condition = true);
// "| name(args) | ..." applied to `input` (null: to what the evaluator puts there), from after the
// first "|".
Result<ExprPtr> parse_filters(TemplateTokens& tokens, ExprPtr input);
// A primary expression with its calls and attributes.
Result<ExprPtr> parse_callee(TemplateTokens& tokens);

}  // namespace altlas::text
