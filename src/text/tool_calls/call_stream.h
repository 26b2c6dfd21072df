// CallStream: the text behind a tag that begins calls, in every family's notation, read as it
// comes.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tool_calls/call_json.h"
#include "text/tool_calls/python_call.h"
#include "text/tool_calls/tool_format.h"

namespace altlas::text {

class CallStream {
 public:
  // tagged: the tag has been read, and its end ends the calls; otherwise the end of the text does.
  // forced: JSON, whatever the format. tools: outlives it.
  CallStream(ToolFormat format, bool tagged, bool forced, const std::vector<std::string>& tools);

  // Takes from the front of `text` what it can. kDone: the calls are over, what is left in `text`
  // comes behind them; there was one at least. kBad: nothing from `unsaid` on is part of a call.
  // last: no more text comes; then it is never kMore.
  CallStatus push(std::string& text, bool last);
  const CallSink& sink() const { return sink_; }
  std::vector<CallSink::Piece> take() { return sink_.take(); }
  // What was taken from the text since the last thing that was told.
  const std::string& unsaid() const { return unsaid_; }

 private:
  enum class State : uint8_t { kBetween, kJson, kNamed, kPython };
  enum class Match : uint8_t { kNo, kPart, kYes };
  Match match(std::string& text, std::string_view token, bool last);
  void drop(std::string& text, size_t bytes);
  CallStatus step(std::string& text, bool last);
  CallStatus between(std::string& text, bool last);
  CallStatus end_of_text() const;
  CallStatus begin_value(std::string& text, bool last);
  CallStatus begin_list(std::string& text, bool last);
  CallStatus begin_named(std::string& text, std::string_view name, size_t bytes);
  CallStatus mistral_name(std::string& text, bool last);
  CallStatus deepseek_name(std::string& text, bool last);
  CallStatus read_json(std::string& text, bool last);
  CallStatus read_python(std::string& text, bool last);
  CallStatus open_named(std::string& text, bool last);

  const ToolFormat format_;
  const bool tagged_, forced_;
  CallSink sink_;
  State state_ = State::kBetween;
  bool fenced_ = false;     // Within ```json.
  bool seen_ = false;       // A value was read.
  bool separated_ = false;  // By one comma or semicolon since.
  std::optional<CallJson> json_;
  std::optional<PythonCalls> python_;
  std::string unsaid_;
};

}  // namespace altlas::text
