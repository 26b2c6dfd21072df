#include "text/template/chat_template.h"

#include <fmt/format.h>

#include "base/utf8.h"
#include "text/template/evaluator.h"
#include "text/template/parser.h"

namespace altlas::text {
namespace {

// Does what transformers does: reasoning under any of its names is also available as
// reasoning_content and as `thinking`.
Value with_reasoning_names(const Value& messages) {
  if (!messages.is_list()) return messages;
  std::vector<Value> renamed;
  for (const Value& message : messages.items()) {
    const Value* reasoning = nullptr;
    for (const char* name : {"reasoning_content", "thinking", "reasoning"}) {
      const Value* found =
          message.is_object() && reasoning == nullptr ? message.find(name) : nullptr;
      if (found != nullptr && !found->is_none()) reasoning = found;
    }
    if (reasoning == nullptr) {
      renamed.push_back(message);
      continue;
    }
    std::vector<Value::Entry> entries = {{Value::trusted("thinking"), *reasoning}};
    entries.insert(entries.end(), message.entries().begin(), message.entries().end());
    entries.emplace_back(Value::trusted("reasoning_content"), *reasoning);
    renamed.push_back(Value::object(std::move(entries)));
  }
  return Value::list(std::move(renamed));
}

Result<TaggedText> evaluate(const Body& body, const TemplateLimits& limits,
                            const ChatInput& input) {
  Variables globals;
  globals.emplace_back("messages", with_reasoning_names(input.messages));
  globals.emplace_back("tools", input.tools);
  globals.emplace_back("documents", Value());
  globals.emplace_back("add_generation_prompt", input.add_generation_prompt);
  if (!input.bos_token.empty()) globals.emplace_back("bos_token", Value::trusted(input.bos_token));
  if (!input.eos_token.empty()) globals.emplace_back("eos_token", Value::trusted(input.eos_token));
  for (const auto& [name, value] : input.extra) {
    std::erase_if(globals, [&](const auto& global) { return global.first == name; });
    globals.emplace_back(name, value);
  }
  for (const auto& [name, value] : globals)
    if (value.depth() > kValueDepthMax)
      return invalid(fmt::format("{} is nested {} deep; at most {} is allowed", name, value.depth(),
                                 kValueDepthMax),
                     name);
  return Evaluator(limits, input.now_us, std::move(globals)).run(body);
}

}  // namespace

Result<ChatTemplate> ChatTemplate::compile(std::string_view source, TemplateLimits limits) {
  const std::string repaired = repair_utf8(source);
  ALTLAS_TRY(Body body, parse_template(repaired));
  return ChatTemplate(std::make_shared<const Body>(std::move(body)), limits);
}

Result<std::string> ChatTemplate::render(const ChatInput& input) const {
  ALTLAS_TRY(TaggedText text, evaluate(*body_, limits_, input));
  return std::move(text.bytes);
}

Result<std::vector<Segment>> ChatTemplate::render_segments(const ChatInput& input) const {
  ALTLAS_TRY(const TaggedText text, evaluate(*body_, limits_, input));
  std::vector<Segment> segments;
  size_t at = 0;
  for (const auto& [begin, end] : text.content) {
    if (begin > at) segments.push_back({text.bytes.substr(at, begin - at), false});
    segments.push_back({text.bytes.substr(begin, end - begin), true});
    at = end;
  }
  if (at < text.bytes.size()) segments.push_back({text.bytes.substr(at), false});
  return segments;
}

}  // namespace altlas::text
