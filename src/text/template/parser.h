// Chat template source to its tree.
#pragma once

#include <string_view>

#include "base/result.h"
#include "text/template/ast.h"

namespace altlas::text {

inline constexpr size_t kTemplateBytesMax = 1u << 20;
// The limit of blocks, and of operands in an expression.
inline constexpr int kTemplateNestingMax = 100;

// Errors: kInvalid with the line, what stands there and what was expected.
Result<Body> parse_template(std::string_view source);

}  // namespace altlas::text
