// Functions that chat templates may call: global ones, and the methods of values.
#pragma once

#include <string_view>

#include "base/result.h"
#include "text/template/arguments.h"
#include "text/template/rendering.h"
#include "text/template/value.h"

namespace altlas::text {

// range, dict, strftime_now and raise_exception.
Result<Value> call_global(Rendering& rendering, std::string_view name, const Arguments& arguments);
// receiver.name(arguments) of an object, a list or a string.
Result<Value> call_method(Rendering& rendering, const Value& receiver, std::string_view name,
                          const Arguments& arguments);
Result<Value> call_string_method(Rendering& rendering, const TaggedText& text,
                                 std::string_view name, const Arguments& arguments);

}  // namespace altlas::text
