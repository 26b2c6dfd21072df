// Parses expressions of chat templates, with Jinja's precedences.
#include <fmt/format.h>

#include <charconv>

#include "text/template/parser.h"
#include "text/template/token_stream.h"

namespace altlas::text {

using Kind = TemplateToken::Kind;

Error TemplateTokens::error(std::string_view expected) const {
  const TemplateToken& token = peek();
  std::string found;
  switch (token.kind) {
    case Kind::kText:
      found = "text";
      break;
    case Kind::kPrintBegin:
      found = "'{{'";
      break;
    case Kind::kPrintEnd:
      found = "'}}'";
      break;
    case Kind::kBlockBegin:
      found = "'{%'";
      break;
    case Kind::kBlockEnd:
      found = "'%}'";
      break;
    case Kind::kEnd:
      found = "the end of the template";
      break;
    case Kind::kString:
      found = "a string";
      break;
    default:
      found = fmt::format("'{}'", token.text.substr(0, 40));
  }
  return invalid(
      fmt::format("chat template, line {}: {} where {} was expected", token.line, found, expected),
      "chat_template");
}

Result<void> TemplateTokens::expect_operator(std::string_view op) {
  if (take_operator(op)) return {};
  return error(fmt::format("'{}'", op));
}
Result<void> TemplateTokens::expect_name(std::string_view name) {
  if (take_name(name)) return {};
  return error(fmt::format("'{}'", name));
}
Result<std::string> TemplateTokens::expect_any_name(std::string_view what) {
  if (!at(Kind::kName)) return error(what);
  return next().text;
}
Result<void> TemplateTokens::expect(Kind kind, std::string_view what) {
  if (!at(kind)) return error(what);
  next();
  return {};
}

namespace {

using EKind = Expr::Kind;

class ExpressionParser {
 public:
  explicit ExpressionParser(TemplateTokens& tokens) : t_(tokens) {}

  Result<ExprPtr> condition(bool allow_condition) {
    const Nesting nesting(*this);
    if (nesting_ > kTemplateNestingMax) return t_.error("a shallower expression");
    ALTLAS_TRY(ExprPtr value, logical(true));
    while (allow_condition && t_.take_name("if")) {
      ALTLAS_TRY(ExprPtr test, logical(true));
      ExprPtr other;
      if (t_.take_name("else")) {
        ALTLAS_TRY(other, condition(true));
      }
      auto made = make(EKind::kCondition);
      made->children.push_back(std::move(value));
      made->children.push_back(std::move(test));
      made->children.push_back(std::move(other));
      ALTLAS_TRY(value, finish(std::move(made)));
    }
    return value;
  }

  Result<ExprPtr> tuple(bool allow_condition) {
    ALTLAS_TRY(ExprPtr first, condition(allow_condition));
    if (!t_.at_operator(",")) return first;
    auto made = make(EKind::kTuple);
    made->children.push_back(std::move(first));
    while (t_.take_operator(",")) {
      if (t_.at(Kind::kBlockEnd) || t_.at(Kind::kPrintEnd) || t_.at_operator(")") ||
          t_.at_operator("="))
        break;
      ALTLAS_TRY(ExprPtr item, condition(allow_condition));
      made->children.push_back(std::move(item));
    }
    return finish(std::move(made));
  }

  // Reads what follows a "|".
  Result<ExprPtr> filters(ExprPtr input) {
    do {
      auto made = make(EKind::kFilter);
      ALTLAS_TRY(made->name, t_.expect_any_name("a filter's name"));
      made->children.push_back(std::move(input));
      if (t_.take_operator("(")) ALTLAS_TRY_VOID(arguments(*made));
      ALTLAS_TRY(input, finish(std::move(made)));
    } while (t_.take_operator("|"));
    return input;
  }

  Result<ExprPtr> callee() {
    ALTLAS_TRY(ExprPtr value, primary());
    return postfix(std::move(value));
  }

 private:
  struct Nesting {
    explicit Nesting(ExpressionParser& parser) : parser(parser) { ++parser.nesting_; }
    ~Nesting() { --parser.nesting_; }
    ExpressionParser& parser;
  };

  std::unique_ptr<Expr> make(EKind kind) const {
    auto made = std::make_unique<Expr>();
    made->kind = kind;
    made->line = t_.peek().line;
    return made;
  }
  Result<ExprPtr> finish(std::unique_ptr<Expr> made) const {
    for (const auto& child : made->children)
      if (child != nullptr) made->depth = std::max(made->depth, child->depth + 1);
    for (const auto& [name, value] : made->named)
      made->depth = std::max(made->depth, value->depth + 1);
    if (made->depth > kTemplateNestingMax) return t_.error("a shallower expression");
    return ExprPtr(std::move(made));
  }
  Result<ExprPtr> unary(EKind kind, ExprPtr operand) const {
    auto made = make(kind);
    made->children.push_back(std::move(operand));
    return finish(std::move(made));
  }
  Result<ExprPtr> binary(EKind kind, std::string name, ExprPtr left, ExprPtr right) const {
    auto made = make(kind);
    made->name = std::move(name);
    made->children.push_back(std::move(left));
    made->children.push_back(std::move(right));
    return finish(std::move(made));
  }

  Result<ExprPtr> logical(bool is_or) {
    ALTLAS_TRY(ExprPtr left, is_or ? logical(false) : negation());
    while (t_.take_name(is_or ? "or" : "and")) {
      ALTLAS_TRY(ExprPtr right, is_or ? logical(false) : negation());
      ALTLAS_TRY(left,
                 binary(is_or ? EKind::kOr : EKind::kAnd, "", std::move(left), std::move(right)));
    }
    return left;
  }

  Result<ExprPtr> negation() {
    const Nesting nesting(*this);
    if (nesting_ > kTemplateNestingMax) return t_.error("a shallower expression");
    if (!t_.take_name("not")) return comparison();
    ALTLAS_TRY(ExprPtr operand, negation());
    return unary(EKind::kNot, std::move(operand));
  }

  std::string take_comparison() {
    for (const std::string_view op : {"==", "!=", "<=", ">=", "<", ">"})
      if (t_.take_operator(op)) return std::string(op);
    if (t_.take_name("in")) return "in";
    if (t_.at_name("not") && t_.peek(1).kind == Kind::kName && t_.peek(1).text == "in") {
      t_.next();
      t_.next();
      return "not in";
    }
    return "";
  }

  Result<ExprPtr> comparison() {
    ALTLAS_TRY(ExprPtr first, sum());
    auto made = make(EKind::kCompare);
    for (std::string op = take_comparison(); !op.empty(); op = take_comparison()) {
      ALTLAS_TRY(ExprPtr right, sum());
      if (made->children.empty()) made->children.push_back(std::move(first));
      made->children.push_back(std::move(right));
      made->operators.push_back(std::move(op));
    }
    return made->children.empty() ? Result<ExprPtr>(std::move(first)) : finish(std::move(made));
  }

  // The levels, loosest first, are + -, then ~, then * / // %, then **.
  Result<ExprPtr> sum(int level = 0) {
    static const std::vector<std::vector<std::string_view>> kLevels = {
        {"+", "-"}, {"~"}, {"*", "/", "//", "%"}, {"**"}};
    if (level == static_cast<int>(kLevels.size())) return signed_value(true);
    ALTLAS_TRY(ExprPtr left, sum(level + 1));
    for (;;) {
      std::string op;
      for (const std::string_view candidate : kLevels[static_cast<size_t>(level)])
        if (op.empty() && t_.take_operator(candidate)) op = candidate;
      if (op.empty()) return left;
      ALTLAS_TRY(ExprPtr right, sum(level + 1));
      ALTLAS_TRY(left, binary(EKind::kBinary, std::move(op), std::move(left), std::move(right)));
    }
  }

  Result<ExprPtr> signed_value(bool with_filters) {
    const Nesting nesting(*this);
    if (nesting_ > kTemplateNestingMax) return t_.error("a shallower expression");
    ExprPtr value;
    if (t_.at_operator("-") || t_.at_operator("+")) {
      const EKind kind = t_.next().text == "-" ? EKind::kNegate : EKind::kPlus;
      ALTLAS_TRY(value, signed_value(false));
      ALTLAS_TRY(value, unary(kind, std::move(value)));
    } else {
      ALTLAS_TRY(value, callee());
    }
    return with_filters ? filters_and_tests(std::move(value)) : Result<ExprPtr>(std::move(value));
  }

  Result<ExprPtr> filters_and_tests(ExprPtr value) {
    for (;;) {
      if (t_.take_operator("|")) {
        ALTLAS_TRY(value, filters(std::move(value)));
      } else if (t_.take_name("is")) {
        ALTLAS_TRY(value, test(std::move(value)));
      } else if (t_.at_operator("(")) {
        ALTLAS_TRY(value, postfix(std::move(value)));
      } else {
        return value;
      }
    }
  }

  Result<ExprPtr> test(ExprPtr value) {
    const bool negated = t_.take_name("not");
    auto made = make(EKind::kTest);
    ALTLAS_TRY(made->name, t_.expect_any_name("a test's name"));
    made->children.push_back(std::move(value));
    const auto at_operand = [&] {
      if (t_.at(Kind::kName)) {
        for (const std::string_view word : {"else", "or", "and", "is", "if", "in", "not"})
          if (t_.at_name(word)) return false;
        return true;
      }
      return t_.at(Kind::kString) || t_.at(Kind::kInteger) || t_.at(Kind::kFloat) ||
             t_.at_operator("[") || t_.at_operator("{");
    };
    if (t_.take_operator("(")) {
      ALTLAS_TRY_VOID(arguments(*made));
    } else if (at_operand()) {
      ALTLAS_TRY(ExprPtr argument, callee());
      made->children.push_back(std::move(argument));
    }
    ALTLAS_TRY(ExprPtr result, finish(std::move(made)));
    return negated ? unary(EKind::kNot, std::move(result)) : Result<ExprPtr>(std::move(result));
  }

  Result<ExprPtr> postfix(ExprPtr value) {
    for (;;) {
      if (t_.take_operator(".")) {
        if (t_.at(Kind::kInteger)) {
          ALTLAS_TRY(ExprPtr index, primary());
          ALTLAS_TRY(value, binary(EKind::kItem, "", std::move(value), std::move(index)));
          continue;
        }
        auto made = make(EKind::kAttribute);
        ALTLAS_TRY(made->name, t_.expect_any_name("an attribute's name"));
        made->children.push_back(std::move(value));
        ALTLAS_TRY(value, finish(std::move(made)));
      } else if (t_.take_operator("[")) {
        ALTLAS_TRY(value, subscript(std::move(value)));
      } else if (t_.take_operator("(")) {
        auto made = make(EKind::kCall);
        made->children.push_back(std::move(value));
        ALTLAS_TRY_VOID(arguments(*made));
        ALTLAS_TRY(value, finish(std::move(made)));
      } else {
        return value;
      }
    }
  }

  // Reads what follows "[".
  Result<ExprPtr> subscript(ExprPtr value) {
    auto made = make(EKind::kSlice);
    made->children.push_back(std::move(value));
    bool is_slice = false;
    for (int part = 0; part < 3; ++part) {
      ExprPtr bound;
      if (!t_.at_operator(":") && !t_.at_operator("]")) {
        ALTLAS_TRY(bound, condition(true));
      }
      made->children.push_back(std::move(bound));
      if (!t_.take_operator(":")) break;
      is_slice = true;
    }
    ALTLAS_TRY_VOID(t_.expect_operator("]"));
    made->children.resize(is_slice ? 4 : 2);
    if (!is_slice) {
      if (made->children[1] == nullptr) return t_.error("an index between '[' and ']'");
      made->kind = EKind::kItem;
    }
    return finish(std::move(made));
  }

  // Reads what follows "(", with the ")".
  Result<void> arguments(Expr& call) {
    while (!t_.take_operator(")")) {
      if (t_.at_operator("*") || t_.at_operator("**"))
        return t_.error("an argument (* and ** are not supported)");
      std::string name;
      if (t_.at(Kind::kName) && t_.peek(1).kind == Kind::kOperator && t_.peek(1).text == "=") {
        name = t_.next().text;
        t_.next();
      } else if (!call.named.empty()) {
        return t_.error("a named argument");
      }
      ALTLAS_TRY(ExprPtr value, condition(true));
      if (name.empty()) {
        call.children.push_back(std::move(value));
      } else {
        call.named.push_back({std::move(name), std::move(value)});
      }
      if (!t_.take_operator(",") && !t_.at_operator(")")) return t_.error("',' or ')'");
    }
    return {};
  }

  Result<ExprPtr> literal(Value value) {
    auto made = make(EKind::kLiteral);
    made->literal = std::move(value);
    return finish(std::move(made));
  }

  Result<ExprPtr> primary() {
    const TemplateToken token = t_.peek();
    if (token.kind == Kind::kName) return name();
    if (token.kind == Kind::kString) {
      std::string text;
      while (t_.at(Kind::kString)) text += t_.next().text;
      return literal(Value::trusted(text));
    }
    if (token.kind == Kind::kInteger || token.kind == Kind::kFloat) {
      const char* const end = token.text.data() + token.text.size();
      int64_t integer = 0;
      double real = 0;
      const bool ok = token.kind == Kind::kInteger
                          ? std::from_chars(token.text.data(), end, integer).ec == std::errc()
                          : std::from_chars(token.text.data(), end, real).ec == std::errc();
      if (!ok) return t_.error("a number that fits 64 bits");
      t_.next();
      return token.kind == Kind::kInteger ? literal(Value(integer)) : literal(Value(real));
    }
    if (t_.take_operator("(")) {
      if (t_.take_operator(")")) return finish(make(EKind::kTuple));
      ALTLAS_TRY(ExprPtr value, tuple(true));
      ALTLAS_TRY_VOID(t_.expect_operator(")"));
      return value;
    }
    if (t_.take_operator("[")) return list();
    if (t_.take_operator("{")) return object();
    return t_.error("an expression");
  }

  Result<ExprPtr> name() {
    const std::string text = t_.next().text;
    if (text == "true" || text == "True") return literal(Value(true));
    if (text == "false" || text == "False") return literal(Value(false));
    if (text == "none" || text == "None") return literal(Value());
    auto made = make(EKind::kName);
    made->name = text;
    return finish(std::move(made));
  }

  Result<ExprPtr> list() {
    auto made = make(EKind::kList);
    while (!t_.take_operator("]")) {
      ALTLAS_TRY(ExprPtr item, condition(true));
      made->children.push_back(std::move(item));
      if (!t_.take_operator(",") && !t_.at_operator("]")) return t_.error("',' or ']'");
    }
    return finish(std::move(made));
  }

  Result<ExprPtr> object() {
    auto made = make(EKind::kObject);
    while (!t_.take_operator("}")) {
      ALTLAS_TRY(ExprPtr key, condition(true));
      ALTLAS_TRY_VOID(t_.expect_operator(":"));
      ALTLAS_TRY(ExprPtr value, condition(true));
      made->children.push_back(std::move(key));
      made->children.push_back(std::move(value));
      if (!t_.take_operator(",") && !t_.at_operator("}")) return t_.error("',' or '}'");
    }
    return finish(std::move(made));
  }

  TemplateTokens& t_;
  int nesting_ = 0;
};

}  // namespace

Result<ExprPtr> parse_expression(TemplateTokens& tokens, bool allow_condition) {
  return ExpressionParser(tokens).condition(allow_condition);
}
Result<ExprPtr> parse_tuple(TemplateTokens& tokens, bool allow_condition) {
  return ExpressionParser(tokens).tuple(allow_condition);
}
Result<ExprPtr> parse_filters(TemplateTokens& tokens, ExprPtr input) {
  return ExpressionParser(tokens).filters(std::move(input));
}
Result<ExprPtr> parse_callee(TemplateTokens& tokens) { return ExpressionParser(tokens).callee(); }

}  // namespace altlas::text
