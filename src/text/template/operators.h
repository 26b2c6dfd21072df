// Operators of chat templates: arithmetic, joining, %-formatting and comparisons.
#pragma once

#include <string_view>

#include "base/result.h"
#include "text/template/rendering.h"
#include "text/template/value.h"

namespace altlas::text {

// left op right; op is one of + - * / // % ** ~.
Result<Value> apply_operator(Rendering& rendering, std::string_view op, const Value& left,
                             const Value& right);
// The same for == != < <= > >=, in, not in.
Result<bool> holds_comparison(Rendering& rendering, std::string_view op, const Value& left,
                              const Value& right);

}  // namespace altlas::text
