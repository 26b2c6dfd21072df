// Tool calls in what a model wrote: every family has its notation, clients want OpenAI's objects.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace altlas::server {

// How a family writes calls.
enum class ToolFormat : uint8_t {
  kHermes,    // <tool_call>{"name": …, "arguments": {…}}</tool_call>: Hermes, Qwen.
  kLlama,     // {"name": …, "parameters": {…}}, perhaps after <|python_tag|>.
  kMistral,   // [TOOL_CALLS][{"name": …, "arguments": {…}}], or [TOOL_CALLS]name[ARGS]{…}.
  kDeepSeek,  // function, a separator, the name, and a ```json block.
  kPhi,       // <|tool_call|>[…]<|/tool_call|>.
  kPythonic,  // [name(argument="value")]: Gemma, Llama 4.
};

// By what the template that shows calls to the model says.
ToolFormat tool_format_of(std::string_view chat_template);
// Whether the template knows <think> … </think>.
bool has_reasoning(std::string_view chat_template);

struct ToolCall {
  std::string name;
  std::string arguments;  // A JSON object.
};

// A piece of an answer, in the order in which it was written.
struct AnswerPiece {
  enum class Kind : uint8_t { kContent, kReasoning, kCall };
  Kind kind = Kind::kContent;
  std::string text;
  ToolCall call;
};

// What of an answer is text, and what is a call. A call comes as a whole, once it is complete;
// what only looked like one comes back as text. Pieces joined are a function of the whole text,
// however it was cut. One thread at a time.
class AnswerReader {
 public:
  struct Options {
    ToolFormat format = ToolFormat::kHermes;
    std::vector<std::string> tools;  // Names; none: nothing is a call.
    bool reasoning = false;
    bool forced = false;    // The answer is nothing but calls, as JSON: a grammar saw to it.
    bool one_call = false;  // Calls after the first are left out.
  };
  explicit AnswerReader(Options options) : options_(std::move(options)) {}

  std::vector<AnswerPiece> push(std::string_view text);
  // Once, when the text is over.
  std::vector<AnswerPiece> finish();
  // Calls so far.
  size_t calls() const { return calls_; }

 private:
  enum class State : uint8_t { kStart, kReasoning, kText, kCall, kWhole };
  bool advance(bool last, std::vector<AnswerPiece>& out);
  bool start(bool last);
  void drop_line_ends();
  bool read_text(bool last, std::vector<AnswerPiece>& out);
  bool read_call(bool last, std::vector<AnswerPiece>& out);
  bool take_calls(std::string_view body, std::vector<AnswerPiece>& out);
  void say(AnswerPiece::Kind kind, std::string text, std::vector<AnswerPiece>& out);

  const Options options_;
  State state_ = State::kStart;
  std::string held_;       // Read, but not said.
  std::string space_;      // Between text and what may be a call.
  bool fresh_ = true;      // No reasoning was said yet.
  bool reasoned_ = false;  // It is over.
  size_t calls_ = 0;
};

}  // namespace altlas::server
