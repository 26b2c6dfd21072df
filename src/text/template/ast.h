// The tree of a parsed chat template.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/template/value.h"

namespace altlas::text {

struct Expr;
using ExprPtr = std::unique_ptr<const Expr>;

struct NamedExpr {
  std::string name;
  ExprPtr value;
};

struct Expr {
  enum class Kind : uint8_t {
    kLiteral,    // literal
    kName,       // name
    kList,       // children
    kTuple,      // children
    kObject,     // children: key, value, key, value, ...
    kAttribute,  // children[0].name
    kItem,       // children[0][children[1]]
    kSlice,      // children[0][children[1]:children[2]:children[3]], absent ones null
    kCall,       // children[0](children[1..], named)
    kFilter,     // children[0] | name(children[1..], named)
    kTest,       // children[0] is name(children[1..])
    kNot,
    kNegate,
    kPlus,
    kAnd,
    kOr,
    kBinary,     // children[0] name children[1]; name is + - * / // % ** ~
    kCompare,    // children[0] operators[0] children[1] operators[1] ...
    kCondition,  // children[0] if children[1] else children[2] (may be null)
  };
  Kind kind;
  int line = 0;
  int depth = 1;
  std::string name;
  Value literal;
  std::vector<ExprPtr> children;
  std::vector<NamedExpr> named;
  std::vector<std::string> operators;
};

struct Stmt;
using Body = std::vector<std::unique_ptr<const Stmt>>;

struct Parameter {
  std::string name;
  ExprPtr fallback;  // Null: none.
};

struct Stmt {
  enum class Kind : uint8_t {
    kText,         // text
    kPrint,        // expr
    kIf,           // conditions[i] -> bodies[i]; one more body is the else
    kFor,          // targets in expr [if filter]: bodies[0], else bodies[1]
    kSet,          // targets = expr; or name.attribute = expr
    kSetBlock,     // targets = bodies[0], filtered by expr if any
    kMacro,        // name(parameters): bodies[0]
    kCall,         // call(parameters) expr: bodies[0]
    kFilterBlock,  // expr applied to bodies[0]
    kWith,         // targets[i] = conditions[i]: bodies[0]
    kGeneration,   // bodies[0]
    kBreak,
    kContinue,
  };
  Kind kind;
  int line = 0;
  std::string text;  // Also the macro's name.
  std::vector<std::string> targets;
  std::string attribute;
  ExprPtr expr;
  ExprPtr filter;
  std::vector<ExprPtr> conditions;
  std::vector<Body> bodies;
  std::vector<Parameter> parameters;
  bool recursive = false;
};

}  // namespace altlas::text
