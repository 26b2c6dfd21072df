#include "text/template/rendering.h"

#include <fmt/format.h>

#include <algorithm>

namespace altlas::text {

Error Rendering::fail(std::string_view what) const {
  return invalid(fmt::format("chat template, line {}: {}", line_, what), "messages");
}

Result<void> Rendering::check_budget() const {
  if (budget_.is_full())
    return Error(ErrorCode::kTooLarge,
                 fmt::format("chat template, line {}: its texts and lists take more than {} bytes",
                             line_, limits_.bytes));
  if (budget_.exhausted())
    return Error(ErrorCode::kTooLarge,
                 fmt::format("chat template, line {}: stopped after {} steps; a template "
                             "must end sooner",
                             line_, limits_.steps));
  if (depth_ > limits_.depth)
    return Error(ErrorCode::kTooLarge,
                 fmt::format("chat template, line {}: nested or recursing deeper than {}", line_,
                             limits_.depth));
  return {};
}

Result<void> Rendering::check_size(size_t bytes) const {
  if (bytes > limits_.output_bytes)
    return Error(ErrorCode::kTooLarge,
                 fmt::format("chat template, line {}: a text of more than {} bytes", line_,
                             limits_.output_bytes));
  return check_budget();
}

Result<void> Rendering::reserve_text(size_t bytes) {
  ALTLAS_TRY_VOID(check_size(bytes));
  budget_.take(bytes);
  return check_budget();
}

Result<void> Rendering::reserve_items(size_t count) {
  budget_.spend(count);
  budget_.take(std::min(count, limits_.bytes) * sizeof(Value));
  return check_budget();
}

Result<Value> Rendering::text_value(TaggedText text) {
  ALTLAS_TRY_VOID(reserve_text(text.bytes.size()));
  return Value(std::move(text));
}

Result<TaggedText> Rendering::to_text(const Value& value) {
  TaggedText text;
  append_str(text, value, budget_);
  ALTLAS_TRY_VOID(check_size(text.bytes.size()));
  return text;
}

Result<std::string> Rendering::to_str(const Value& value) {
  ALTLAS_TRY(TaggedText text, to_text(value));
  return std::move(text.bytes);
}

}  // namespace altlas::text
