// Fuzzes the reader of tool calls. Goal: nothing crashes; what it reports does not depend on how
// the text was cut, in a stream or not; arguments of whole calls are JSON objects.
#include <boost/json.hpp>

#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "text/tool_calls/tool_calls.h"

namespace {

using altlas::text::AnswerPiece;
using altlas::text::AnswerReader;

struct Said {
  std::string text;  // All pieces, each with its kind before it if that changes.
  std::vector<std::string> arguments;
  size_t whole = 0;
};

Said read(const AnswerReader::Options& options, std::string_view text, size_t step) {
  AnswerReader reader(options);
  Said out;
  int before = -1;
  const auto take = [&](const std::vector<AnswerPiece>& pieces) {
    for (const AnswerPiece& piece : pieces) {
      const bool call = piece.kind == AnswerPiece::Kind::kCall;
      if (static_cast<int>(piece.kind) != before || call) out.text += "\n#";
      before = static_cast<int>(piece.kind);
      out.text += piece.text + piece.call.name + piece.call.arguments;
      if (call) out.arguments.push_back(piece.call.arguments);
      if (piece.kind == AnswerPiece::Kind::kArguments) out.arguments.back() += piece.text;
    }
  };
  for (size_t at = 0; at < text.size(); at += step) take(reader.push(text.substr(at, step)));
  take(reader.finish());
  out.whole = reader.whole_calls();
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2 || size > 4096) return 0;
  AnswerReader::Options options;
  options.format = static_cast<altlas::text::ToolFormat>(data[0] % 6);
  options.tools = {"f", "get.x"};
  if ((data[0] & 64) != 0) options.reasoning = altlas::text::reasoning_of("<think>");
  options.forced = (data[1] & 64) != 0;
  options.one_call = (data[1] & 128) != 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  for (const bool streams : {false, true}) {
    options.streams = streams;
    const Said whole = read(options, text, text.size() + 1);
    for (const size_t step : {size_t{1}, size_t{1} + data[1] % 16})
      ALTLAS_CHECK(read(options, text, step).text == whole.text, "cuts change nothing");
    if (streams) continue;
    ALTLAS_CHECK(whole.arguments.size() == whole.whole, "calls are whole");
    for (const std::string& one : whole.arguments) {
      boost::system::error_code failed;
      boost::json::parse_options deep;
      deep.max_depth = 128;
      // It is needed for texts that no detokenizer gives.
      deep.allow_invalid_utf8 = true;
      const auto value = boost::json::parse(one, failed, {}, deep);
      ALTLAS_CHECK(!failed && value.is_object(), one);
    }
  }
  return 0;
}
