#include "text/tool_calls/tool_format.h"

namespace altlas::text {

ToolTags tags_of(ToolFormat format) {
  switch (format) {
    case ToolFormat::kHermes:
      return {"<tool_call>", "</tool_call>"};
    case ToolFormat::kLlama:
      return {"<|python_tag|>", ""};
    case ToolFormat::kMistral:
      return {"[TOOL_CALLS]", ""};
    case ToolFormat::kDeepSeek:
      return {"<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"};
    case ToolFormat::kPhi:
      return {"<|tool_call|>", "<|/tool_call|>"};
    case ToolFormat::kPythonic:
      return {"```tool_code", "```"};
  }
  return {};
}

std::vector<std::string_view> marks_of(ToolFormat format) {
  const ToolTags tags = tags_of(format);
  std::vector<std::string_view> marks{tags.begin};
  if (!tags.end.empty()) marks.push_back(tags.end);
  if (format == ToolFormat::kMistral) marks.push_back("[ARGS]");
  if (format == ToolFormat::kDeepSeek)
    for (const std::string_view mark :
         {"<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>"})
      marks.push_back(mark);
  return marks;
}

std::optional<bool> may_be_whole_call(ToolFormat format, std::string_view text) {
  constexpr std::string_view kDeepSeekKind = "function", kFence = "```json";
  if (text.starts_with("{") || text.starts_with(kFence)) return true;
  if (kFence.starts_with(text)) return std::nullopt;
  if (format == ToolFormat::kHermes) return false;
  if (format != ToolFormat::kDeepSeek) return text.starts_with("[");
  if (text.starts_with(kDeepSeekKind)) return true;
  if (kDeepSeekKind.starts_with(text)) return std::nullopt;
  return false;
}

ToolFormat tool_format_of(std::string_view chat_template) {
  const auto has = [&](std::string_view text) { return chat_template.contains(text); };
  if (has("<tool_call>")) return ToolFormat::kHermes;
  if (has("[TOOL_CALLS]")) return ToolFormat::kMistral;
  if (has("tool▁call")) return ToolFormat::kDeepSeek;
  if (has("<|tool_call|>") || has("<|tool|>")) return ToolFormat::kPhi;
  if (has("<|python_tag|>") || has("<|start_header_id|>")) return ToolFormat::kLlama;
  if (has("<start_of_turn>") || has("tool_code")) return ToolFormat::kPythonic;
  return ToolFormat::kHermes;
}

ToolFormat tool_format_of(ToolCallParser parser, ToolFormat detected) {
  switch (parser) {
    case ToolCallParser::kAuto:
      return detected;
    case ToolCallParser::kHermes:
      return ToolFormat::kHermes;
    case ToolCallParser::kLlama3Json:
      return ToolFormat::kLlama;
    case ToolCallParser::kMistral:
      return ToolFormat::kMistral;
    case ToolCallParser::kDeepSeek:
      return ToolFormat::kDeepSeek;
    case ToolCallParser::kPhi:
      return ToolFormat::kPhi;
    case ToolCallParser::kPythonic:
      return ToolFormat::kPythonic;
  }
  return detected;
}

}  // namespace altlas::text
