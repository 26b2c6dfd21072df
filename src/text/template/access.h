// What values hold: attributes, items, slices, and what a loop visits.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "text/template/rendering.h"
#include "text/template/value.h"

namespace altlas::text {

// The items that a loop over `value` visits. Errors: kInvalid if it can't be iterated.
Result<std::vector<Value>> items_of(Rendering& rendering, const Value& value);
// value.name, undefined if there is none. Errors: kInvalid for undefined values and for methods
// that would change a value.
Result<Value> attribute_of(Rendering& rendering, const Value& value, const std::string& name);
// value[key], undefined if there is none.
Result<Value> item_at(Rendering& rendering, const Value& value, const Value& key);
// value[begin:end:step], each an integer or null.
Result<Value> slice_of(Rendering& rendering, const Value& value, const Value& begin,
                       const Value& end, const Value& step);

}  // namespace altlas::text
