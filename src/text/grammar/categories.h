// Unicode's general categories as ranges of code points.
#pragma once

#include <string_view>
#include <vector>

#include "text/grammar/expression.h"

namespace altlas::text::grammar {

// The code points of these categories together ("Lu", or "L" for all that begin so), in order
// within each; of a name that none has: none. Any thread.
std::vector<CodeRange> category_ranges(const std::vector<std::string_view>& names);

}  // namespace altlas::text::grammar
