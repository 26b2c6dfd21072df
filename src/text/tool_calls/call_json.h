// Calls written as JSON, read as they come: every character that is taken belongs to a call, and
// arguments are told before they are complete.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace altlas::text {

// What the readers of calls have told so far.
class CallSink {
 public:
  struct Piece {
    enum class Kind : uint8_t { kBegin, kArguments, kEnd } kind = Kind::kBegin;
    std::string text;  // The name, or the next part of the arguments: compact JSON.
  };
  explicit CallSink(const std::vector<std::string>& tools) : tools_(&tools) {}

  // False: there is no such tool, and nothing begins.
  bool begin(const std::string& name);
  void arguments(std::string_view text);
  void end();
  bool open() const { return open_; }  // A call has begun and not ended.
  size_t ended() const { return ended_; }
  std::vector<Piece> take();

 private:
  const std::vector<std::string>* tools_;  // Outlives it.
  std::vector<Piece> pieces_;
  bool open_ = false;
  size_t ended_ = 0;
};

enum class CallStatus : uint8_t { kMore, kDone, kBad };

// One call, {"name": …, "arguments" or "parameters": {…}}, perhaps within {"function": …}; a list
// of them; or the arguments of a call that has begun. Arguments may also be a string that holds an
// object.
class CallJson {
 public:
  // sink: outlives it. begun: the text is the arguments' object, of the call that is open.
  CallJson(CallSink& sink, bool begun);
  ~CallJson();
  CallJson(CallJson&&) noexcept;
  CallJson& operator=(CallJson&&) noexcept;

  // The next character. kDone: it was the last one; kBad: it can't be part of a call.
  CallStatus push(char c);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace altlas::text
