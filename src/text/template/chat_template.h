// A model's own chat template: a conversation to the prompt the model was trained on.
//
// The language is the part of Jinja that chat templates use, with the settings of transformers'
// apply_chat_template (trim_blocks, lstrip_blocks, loop controls, raise_exception, strftime_now,
// its tojson).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "text/template/ast.h"
#include "text/template/value.h"
#include "text/tokenizer/tokenizer.h"

namespace altlas::text {

// A template comes from a model file, so it may be hostile: a rendering past one of these ends with
// kTooLarge.
struct TemplateLimits {
  int64_t steps = 20'000'000;  // Nodes evaluated, items visited, and a share of the bytes handled.
  size_t output_bytes = 16u << 20;  // Bytes of the prompt, and of any string on the way.
  size_t bytes = 256u << 20;        // The bytes of all strings and lists made on the way.
  int depth = 400;  // The depth of expressions, blocks, loops and macro calls inside each other.
};

struct ChatInput {
  Value messages;  // List of objects: role, content, ...
  Value tools;     // List of JSON schemas, or null.
  std::vector<std::pair<std::string, Value>>
      extra;  // More variables (documents, enable_thinking, ...).
  bool add_generation_prompt = true;
  std::string bos_token;  // Spelled; empty leaves the variable undefined.
  std::string eos_token;
  int64_t now_us = 0;  // For strftime_now, which tells UTC.
};

// Immutable after compile; any thread.
class ChatTemplate {
 public:
  // Errors: kInvalid (field "chat_template") with the line and what was expected.
  static Result<ChatTemplate> compile(std::string_view source, TemplateLimits limits = {});

  // The prompt. Errors: kInvalid with the line, or with what the template's own raise_exception
  // says; kTooLarge past a limit.
  Result<std::string> render(const ChatInput& input) const;

  // The prompt in parts: what came from messages, tools and extra (unless made by Value::trusted)
  // is content, in which Tokenizer::encode_segments recognises no control tokens. Neighbours differ
  // in is_content.
  Result<std::vector<Segment>> render_segments(const ChatInput& input) const;

 private:
  explicit ChatTemplate(std::shared_ptr<const Body> body, TemplateLimits limits)
      : body_(std::move(body)), limits_(limits) {}
  std::shared_ptr<const Body> body_;
  TemplateLimits limits_;
};

}  // namespace altlas::text
