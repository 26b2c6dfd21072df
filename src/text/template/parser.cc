#include "text/template/parser.h"

#include <fmt/format.h>

#include "text/template/token_stream.h"

namespace altlas::text {
namespace {

using TKind = TemplateToken::Kind;
using SKind = Stmt::Kind;

class StatementParser {
 public:
  explicit StatementParser(std::vector<TemplateToken> tokens) : t_(std::move(tokens)) {}

  Result<Body> all() {
    ALTLAS_TRY(Body body, body_until({}));
    if (!t_.at(TKind::kEnd)) return t_.error("text or a statement");
    return body;
  }

 private:
  using Words = std::initializer_list<std::string_view>;

  std::unique_ptr<Stmt> make(SKind kind) const {
    auto made = std::make_unique<Stmt>();
    made->kind = kind;
    made->line = t_.peek().line;
    return made;
  }

  // Reads statements up to a block that begins with one of `ends`. It stops at that word, after the
  // "{%".
  Result<Body> body_until(Words ends) {
    if (++nesting_ > kTemplateNestingMax) return t_.error("less deeply nested blocks");
    Body body;
    while (!t_.at(TKind::kEnd)) {
      if (t_.at(TKind::kText)) {
        auto made = make(SKind::kText);
        made->text = t_.next().text;
        body.push_back(std::move(made));
      } else if (t_.at(TKind::kPrintBegin)) {
        t_.next();
        auto made = make(SKind::kPrint);
        ALTLAS_TRY(made->expr, parse_tuple(t_));
        ALTLAS_TRY_VOID(t_.expect(TKind::kPrintEnd, "'}}'"));
        body.push_back(std::move(made));
      } else {
        ALTLAS_TRY_VOID(t_.expect(TKind::kBlockBegin, "text, '{{' or '{%'"));
        for (const std::string_view end : ends)
          if (t_.at_name(end)) {
            --nesting_;
            return body;
          }
        ALTLAS_TRY(auto made, statement());
        body.push_back(std::move(made));
      }
    }
    if (ends.size() > 0) return t_.error(fmt::format("'{{% {} %}}'", *(ends.end() - 1)));
    --nesting_;
    return body;
  }

  Result<void> block_end() { return t_.expect(TKind::kBlockEnd, "'%}'"); }
  // Reads "%}", a body, and its closing word with "%}".
  Result<void> body_to(Stmt& made, std::string_view closing) {
    ALTLAS_TRY_VOID(block_end());
    ALTLAS_TRY(Body body, body_until({closing}));
    made.bodies.push_back(std::move(body));
    ALTLAS_TRY_VOID(t_.expect_name(closing));
    if (t_.at(TKind::kName)) t_.next();  // {% endmacro name %} repeats the name.
    return block_end();
  }

  Result<std::unique_ptr<const Stmt>> statement() {
    const std::string word = t_.at(TKind::kName) ? t_.peek().text : "";
    using Made = Result<std::unique_ptr<Stmt>>;
    Made made = word == "if"           ? if_statement()
                : word == "for"        ? for_statement()
                : word == "set"        ? set_statement()
                : word == "macro"      ? macro()
                : word == "call"       ? call_block()
                : word == "filter"     ? filter_block()
                : word == "with"       ? with_block()
                : word == "generation" ? generation()
                : word == "break"      ? jump(SKind::kBreak)
                : word == "continue"
                    ? jump(SKind::kContinue)
                    : Made(t_.error("one of if, for, set, macro, call, filter, with, generation, "
                                    "break, continue, raw"));
    ALTLAS_TRY(std::unique_ptr<Stmt> stmt, std::move(made));
    return std::unique_ptr<const Stmt>(std::move(stmt));
  }

  Result<std::unique_ptr<Stmt>> if_statement() {
    auto made = make(SKind::kIf);
    t_.next();
    for (;;) {
      ALTLAS_TRY(ExprPtr condition, parse_tuple(t_));
      made->conditions.push_back(std::move(condition));
      ALTLAS_TRY_VOID(block_end());
      ALTLAS_TRY(Body body, body_until({"elif", "else", "endif"}));
      made->bodies.push_back(std::move(body));
      if (!t_.take_name("elif")) break;
    }
    if (t_.take_name("else")) {
      ALTLAS_TRY_VOID(body_to(*made, "endif"));
      return made;
    }
    ALTLAS_TRY_VOID(t_.expect_name("endif"));
    ALTLAS_TRY_VOID(block_end());
    return made;
  }

  Result<void> targets(Stmt& made) {
    const bool parenthesis = t_.take_operator("(");
    do {
      ALTLAS_TRY(std::string name, t_.expect_any_name("a variable's name"));
      made.targets.push_back(std::move(name));
    } while (t_.take_operator(","));
    return parenthesis ? t_.expect_operator(")") : Result<void>();
  }

  Result<std::unique_ptr<Stmt>> for_statement() {
    auto made = make(SKind::kFor);
    t_.next();
    ALTLAS_TRY_VOID(targets(*made));
    ALTLAS_TRY_VOID(t_.expect_name("in"));
    ALTLAS_TRY(made->expr, parse_tuple(t_, /*allow_condition=*/false));
    if (t_.take_name("if")) {
      ALTLAS_TRY(made->filter, parse_expression(t_));
    }
    made->recursive = t_.take_name("recursive");
    ALTLAS_TRY_VOID(block_end());
    ++loops_;
    ALTLAS_TRY(Body body, body_until({"else", "endfor"}));
    --loops_;
    made->bodies.push_back(std::move(body));
    if (t_.take_name("else")) {
      ALTLAS_TRY_VOID(body_to(*made, "endfor"));
      return made;
    }
    ALTLAS_TRY_VOID(t_.expect_name("endfor"));
    ALTLAS_TRY_VOID(block_end());
    return made;
  }

  Result<std::unique_ptr<Stmt>> set_statement() {
    auto made = make(SKind::kSet);
    t_.next();
    ALTLAS_TRY_VOID(targets(*made));
    if (made->targets.size() == 1 && t_.take_operator(".")) {
      ALTLAS_TRY(made->attribute, t_.expect_any_name("an attribute's name"));
    }
    if (t_.take_operator("=")) {
      ALTLAS_TRY(made->expr, parse_tuple(t_));
      ALTLAS_TRY_VOID(block_end());
      return made;
    }
    made->kind = SKind::kSetBlock;
    if (made->targets.size() > 1) return t_.error("'='");
    if (t_.take_operator("|")) {
      ALTLAS_TRY(made->expr, parse_filters(t_, nullptr));
    }
    ALTLAS_TRY_VOID(body_to(*made, "endset"));
    return made;
  }

  // Reads "(a, b=1)" if it is there.
  Result<void> parameters(Stmt& made) {
    if (!t_.take_operator("(")) return {};
    while (!t_.take_operator(")")) {
      Parameter parameter;
      ALTLAS_TRY(parameter.name, t_.expect_any_name("a parameter's name"));
      if (t_.take_operator("=")) {
        ALTLAS_TRY(parameter.fallback, parse_expression(t_));
      }
      made.parameters.push_back(std::move(parameter));
      if (!t_.take_operator(",") && !t_.at_operator(")")) return t_.error("',' or ')'");
    }
    return {};
  }

  // A break inside a macro or call block can't leave a loop outside it.
  Result<void> function_body(Stmt& made, std::string_view closing) {
    const int loops = std::exchange(loops_, 0);
    ALTLAS_TRY_VOID(body_to(made, closing));
    loops_ = loops;
    return {};
  }

  Result<std::unique_ptr<Stmt>> macro() {
    auto made = make(SKind::kMacro);
    t_.next();
    ALTLAS_TRY(made->text, t_.expect_any_name("the macro's name"));
    ALTLAS_TRY_VOID(parameters(*made));
    ALTLAS_TRY_VOID(function_body(*made, "endmacro"));
    return made;
  }

  Result<std::unique_ptr<Stmt>> call_block() {
    auto made = make(SKind::kCall);
    t_.next();
    ALTLAS_TRY_VOID(parameters(*made));
    ALTLAS_TRY(made->expr, parse_callee(t_));
    if (made->expr->kind != Expr::Kind::kCall) return t_.error("a call");
    ALTLAS_TRY_VOID(function_body(*made, "endcall"));
    return made;
  }

  Result<std::unique_ptr<Stmt>> filter_block() {
    auto made = make(SKind::kFilterBlock);
    t_.next();
    ALTLAS_TRY(made->expr, parse_filters(t_, nullptr));
    ALTLAS_TRY_VOID(body_to(*made, "endfilter"));
    return made;
  }

  Result<std::unique_ptr<Stmt>> with_block() {
    auto made = make(SKind::kWith);
    t_.next();
    while (!t_.at(TKind::kBlockEnd)) {
      if (!made->targets.empty()) ALTLAS_TRY_VOID(t_.expect_operator(","));
      ALTLAS_TRY(std::string name, t_.expect_any_name("a variable's name"));
      ALTLAS_TRY_VOID(t_.expect_operator("="));
      ALTLAS_TRY(ExprPtr value, parse_expression(t_));
      made->targets.push_back(std::move(name));
      made->conditions.push_back(std::move(value));
    }
    ALTLAS_TRY_VOID(body_to(*made, "endwith"));
    return made;
  }

  Result<std::unique_ptr<Stmt>> generation() {
    auto made = make(SKind::kGeneration);
    t_.next();
    ALTLAS_TRY_VOID(function_body(*made, "endgeneration"));
    return made;
  }

  Result<std::unique_ptr<Stmt>> jump(SKind kind) {
    if (loops_ == 0) return t_.error("a loop around break and continue");
    auto made = make(kind);
    t_.next();
    ALTLAS_TRY_VOID(block_end());
    return made;
  }

  TemplateTokens t_;
  int nesting_ = 0;
  int loops_ = 0;
};

}  // namespace

Result<Body> parse_template(std::string_view source) {
  if (source.size() > kTemplateBytesMax)
    return invalid(fmt::format("the chat template has {} bytes; at most {} are allowed",
                               source.size(), kTemplateBytesMax),
                   "chat_template");
  ALTLAS_TRY(std::vector<TemplateToken> tokens, lex_template(source));
  return StatementParser(std::move(tokens)).all();
}

}  // namespace altlas::text
