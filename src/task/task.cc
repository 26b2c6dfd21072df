#include "task/task.h"

namespace altlas {
namespace {
constexpr std::string_view kStatusNames[] = {"queued", "running", "completed", "failed",
                                             "canceled"};
}

std::string_view to_string(FinishReason reason) {
  switch (reason) {
    case FinishReason::kNone:
      return "";
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
  }
  return "";
}

std::string_view to_string(GrammarKind kind) {
  switch (kind) {
    case GrammarKind::kNone:
      return "none";
    case GrammarKind::kJsonObject:
      return "json_object";
    case GrammarKind::kJsonSchema:
      return "json_schema";
    case GrammarKind::kRegex:
      return "regex";
    case GrammarKind::kGbnf:
      return "gbnf";
  }
  return "";
}

std::string_view to_string(TaskStatus status) { return kStatusNames[static_cast<size_t>(status)]; }

std::optional<TaskStatus> parse_task_status(std::string_view name) {
  for (size_t i = 0; i < std::size(kStatusNames); ++i)
    if (kStatusNames[i] == name) return static_cast<TaskStatus>(i);
  return std::nullopt;
}
}  // namespace altlas
