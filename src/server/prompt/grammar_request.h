// The fields of requests that hold an answer to a grammar: response_format, vLLM's guided_* and
// structured_outputs, llama-server's grammar and json_schema.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "server/http/http.h"
#include "server/json_reader.h"
#include "task/task.h"

namespace altlas::server {

// A part of a schema that comes from a field of its own, as tools' parameters do.
struct GrammarPart {
  std::string pointer;  // Where it stands in the schema: "/anyOf/1/properties/arguments".
  std::string field;    // "tools[1].function.parameters".
  bool strict = false;
};

// A grammar and the field that its text stands in, for messages.
struct GrammarRequest {
  Grammar grammar;
  std::string field;
  bool strict = false;  // What can't be held is refused; else it is left out and named.
  std::vector<GrammarPart> parts;
  // What was left out, as X-Altlas-Ignored shows it: check_grammar writes, whoever answers reads.
  std::shared_ptr<std::vector<std::string>> ignored = std::make_shared<std::vector<std::string>>();
  bool given() const { return grammar.kind != GrammarKind::kNone; }
};

// At most one of the fields may be given; what is wrong goes into `reader`. Nothing is compiled.
GrammarRequest read_grammar(JsonReader& reader);

// Whether it compiles, and what of it is left out.  Errors: kInvalid with the field and the place
// within it: also for what can't be held, where strict is asked for. What is malformed is left out
// only of a tool that isn't strict: it never refuses its neighbours. On a text thread.
Result<void> check_grammar(const GrammarRequest& request);
// X-Altlas-Ignored, if anything was left out: "field#/pointer" of each keyword, with commas; the
// last of many is "12 more".
void add_ignored(const std::vector<std::string>& ignored, Response& response);

}  // namespace altlas::server
