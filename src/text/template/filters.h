// Filters ("value | name(arguments)") and tests ("value is name(arguments)") of chat templates.
#pragma once

#include <string_view>

#include "base/result.h"
#include "text/template/arguments.h"
#include "text/template/rendering.h"
#include "text/template/value.h"

namespace altlas::text {

// Errors: kInvalid for unknown filters.
Result<Value> apply_filter(Rendering& rendering, std::string_view name, const Value& input,
                           const Arguments& arguments);
// The filters of lists and objects.
Result<Value> apply_list_filter(Rendering& rendering, std::string_view name, const Value& input,
                                const Arguments& arguments);
Result<bool> holds_test(Rendering& rendering, std::string_view name, const Value& value,
                        const Arguments& arguments);

}  // namespace altlas::text
