// Cuts a chat template into tokens, whitespace control applied (trim_blocks and lstrip_blocks on,
// as transformers).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace altlas::text {

struct TemplateToken {
  enum class Kind : uint8_t {
    kText,  // Between tags.
    kPrintBegin,
    kPrintEnd,  // {{ }}
    kBlockBegin,
    kBlockEnd,  // {% %}
    kName,
    kInteger,
    kFloat,
    kString,
    kOperator,
    kEnd,
  };
  Kind kind;
  std::string text;  // Strings unescaped.
  int line;
};

// Ends with one kEnd. Errors: kInvalid with the line.
Result<std::vector<TemplateToken>> lex_template(std::string_view source);

}  // namespace altlas::text
