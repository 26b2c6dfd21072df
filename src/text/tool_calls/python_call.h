// Calls written as Python: [name(argument="value", other=1)].
#pragma once

#include <string>
#include <string_view>

#include "text/tool_calls/call_json.h"

namespace altlas::text {

// One call, or a list of them; arguments are named literals. An argument is told once it is whole.
class PythonCalls {
 public:
  explicit PythonCalls(CallSink& sink) : sink_(&sink) {}

  // Takes what it can from the front of `text`, one part of a call at most, and says how much:
  // 0 with kMore: nothing yet. last: no more text comes. kDone: the list, or without brackets the
  // call, is over.
  CallStatus push(std::string_view text, bool last, size_t& used);

 private:
  enum class State : uint8_t { kStart, kName, kArguments, kBetween };
  CallStatus read_name(std::string_view text, bool last, size_t& used);
  CallStatus read_argument(std::string_view text, bool last, size_t& used);
  CallStatus read_between(std::string_view text, bool last, size_t& used);
  CallStatus begin();

  CallSink* sink_;
  State state_ = State::kStart;
  bool list_ = false;
  bool begun_ = false;  // The sink knows of the call.
  bool first_ = true;   // No argument yet.
  std::string name_;
  size_t tried_ = 0;  // Bytes of an argument that were too few.
};

}  // namespace altlas::text
