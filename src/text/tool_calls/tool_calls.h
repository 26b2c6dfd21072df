// Tool calls in what a model wrote: every family has its notation, clients want OpenAI's objects.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/reasoning.h"
#include "text/tool_calls/call_stream.h"
#include "text/tool_calls/tool_format.h"

namespace altlas::text {

struct ToolCall {
  std::string name;
  std::string arguments;  // A JSON object.
};

// A piece of an answer, in the order in which it was written.
struct AnswerPiece {
  // kCall: a call; in a stream its arguments are empty, and come by kArguments.
  enum class Kind : uint8_t { kContent, kReasoning, kCall, kArguments };
  Kind kind = Kind::kContent;
  std::string text;
  ToolCall call;
};

// What of an answer is text, and what is a call. What only looked like a call comes back as text.
// In a stream a call is told as soon as its name and the begin of its arguments are there, then its
// arguments as they come; what can't be part of it after that is text, and its arguments stay
// unfinished. Otherwise calls come whole, at the end, and what is not whole is text. Pieces joined
// are a function of the whole text, however it was cut. One thread at a time.
class AnswerReader {
 public:
  struct Options {
    ToolFormat format = ToolFormat::kHermes;
    std::vector<std::string> tools;  // Names; none: nothing is a call.
    ReasoningTags reasoning;
    bool in_reasoning = false;  // The prompt has begun it.
    bool forced = false;    // The answer is nothing but calls, as JSON: a grammar saw to it.
    bool one_call = false;  // Calls after the first are left out.
    bool streams = false;
  };
  explicit AnswerReader(Options options) : options_(std::move(options)) {}

  std::vector<AnswerPiece> push(std::string_view text);
  // Once, when the text is over.
  std::vector<AnswerPiece> finish();
  // Calls so far, and those that are whole.
  size_t calls() const { return calls_; }
  size_t whole_calls() const { return whole_calls_; }

 private:
  enum class State : uint8_t { kStart, kReasoning, kText, kCall, kWhole };
  bool advance(bool last, std::vector<AnswerPiece>& out);
  bool start(bool last);
  std::optional<bool> begin_reasoning(std::string_view text, bool last);
  void drop_line_ends();
  bool read_text(bool last, std::vector<AnswerPiece>& out);
  bool read_calls(bool last, std::vector<AnswerPiece>& out);
  void say_calls(const std::vector<CallSink::Piece>& pieces, std::vector<AnswerPiece>& out);
  void say(AnswerPiece::Kind kind, std::string text, std::vector<AnswerPiece>& out);

  const Options options_;
  State state_ = State::kStart;
  std::string held_;       // Read, but not said.
  std::string space_;      // Between text and what may be a call.
  bool fresh_ = true;      // No reasoning was said yet.
  bool reasoned_ = false;  // It is over.
  size_t calls_ = 0, whole_calls_ = 0;
  std::optional<CallStream> stream_;  // In kCall and kWhole.
  bool muted_ = false;                // The call that goes on is left out.
  std::string tag_;                   // That began the calls, until one of them is told.
};

}  // namespace altlas::text
