// The fields of requests that hold an answer to a grammar: response_format, vLLM's guided_* and
// structured_outputs, llama-server's grammar and json_schema.
#pragma once

#include "server/json_reader.h"
#include "task/task.h"

namespace altlas::server {

// A grammar and the field that its text stands in, for messages.
struct GrammarRequest {
  Grammar grammar;
  std::string field;
  bool given() const { return grammar.kind != GrammarKind::kNone; }
};

// At most one of the fields may be given; what is wrong goes into `reader`. Nothing is compiled.
GrammarRequest read_grammar(JsonReader& reader);

// Whether it compiles.  Errors: kInvalid with the field and the place within it. On a text thread.
Result<void> check_grammar(const GrammarRequest& request);

}  // namespace altlas::server
