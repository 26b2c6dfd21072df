// The fields of requests that hold an answer to a grammar: response_format, vLLM's guided_* and
// structured_outputs, llama-server's grammar and json_schema.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/fields.h"
#include "server/body/field.h"
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

inline constexpr size_t kGuidedChoicesMax = 4096;
// Schemas of the values that read_grammar() reads itself.
boost::json::object json_schema_format_schema(const config::Config& now);
boost::json::object guided_choice_schema(const config::Config& now);
boost::json::object guided_json_schema(const config::Config& now);

enum class FormatType : uint8_t { kText, kJsonObject, kJsonSchema };
inline constexpr EnumName kFormatTypeNames[] = {
    {"text", 0}, {"json_object", 1}, {"json_schema", 2}};
constexpr std::span<const EnumName> names_of(FormatType) { return kFormatTypeNames; }

struct ResponseFormat {
  FormatType type = FormatType::kText;
  const boost::json::object* json_schema = nullptr;
  const boost::json::value* schema = nullptr;

  static constexpr void fields(auto&& field) {
    using S = ResponseFormat;
    field("type", &S::type, BodyField{.needed = "should be text, json_object or json_schema"});
    field("json_schema", &S::json_schema,
          BodyField{.help = "With type json_schema", .schema = json_schema_format_schema});
    field("schema", &S::schema,
          BodyField{.help = "The schema in llama-server's place", .schema = guided_json_schema});
  }
};
static_assert(fields_complete<ResponseFormat>(), "describe every member in fields()");

// vLLM's newer form; its members are called as those of GrammarFields.
struct StructuredOutputs {
  const boost::json::value* json = nullptr;
  std::optional<std::string> regex;
  const boost::json::value* choice = nullptr;
  std::optional<std::string> grammar;
  bool json_object = false;
  Refused structural_tag;

  static constexpr void fields(auto&& field) {
    using S = StructuredOutputs;
    field("json", &S::json, BodyField{.help = "A schema", .schema = guided_json_schema});
    field("regex", &S::regex, BodyField{});
    field("choice", &S::choice,
          BodyField{.help = "The text is one of them", .schema = guided_choice_schema});
    field("grammar", &S::grammar, BodyField{.help = "GBNF"});
    field("json_object", &S::json_object, BodyField{.help = "Any JSON object"});
    field("structural_tag", &S::structural_tag,
          BodyField{.help = "Not taken",
                    .refused = "is not supported; json, regex, choice, grammar and json_object "
                               "are"});
  }
};
static_assert(fields_complete<StructuredOutputs>(), "describe every member in fields()");

struct GrammarFields {
  std::optional<ResponseFormat> response_format;
  const boost::json::value* json = nullptr;
  std::optional<std::string> regex;
  const boost::json::array* choice = nullptr;
  std::optional<std::string> grammar;
  bool json_object = false;
  std::optional<StructuredOutputs> structured_outputs;
  std::optional<std::string> gbnf;
  const boost::json::value* json_schema = nullptr;

  static constexpr void fields(auto&& field) {
    using S = GrammarFields;
    field("response_format", &S::response_format,
          BodyField{.help = "What the text is held to. One of it, guided_*, structured_outputs, "
                            "grammar and json_schema may be given",
                    .shared = "ResponseFormat"});
    field("guided_json", &S::json, BodyField{.help = "A schema", .schema = guided_json_schema});
    field("guided_regex", &S::regex, BodyField{});
    field("guided_choice", &S::choice,
          BodyField{.help = "The text is one of them", .schema = guided_choice_schema});
    field("guided_grammar", &S::grammar, BodyField{.help = "GBNF"});
    field("guided_json_object", &S::json_object, BodyField{.help = "Any JSON object"});
    field("structured_outputs", &S::structured_outputs,
          BodyField{.help = "vLLM's newer form of guided_*", .shared = "StructuredOutputs"});
    field("grammar", &S::gbnf, BodyField{.help = "GBNF, as llama-server takes it"});
    field("json_schema", &S::json_schema,
          BodyField{.help = "A schema, as llama-server takes it", .schema = guided_json_schema});
  }
};
static_assert(fields_complete<GrammarFields>(), "describe every member in fields()");

// At most one of the fields may be given; what is wrong goes into `reader`. Nothing is compiled.
GrammarRequest read_grammar(const GrammarFields& fields, JsonReader& reader);

// Whether it compiles, and what of it is left out.  Errors: kInvalid with the field and the place
// within it: also for what can't be held, where strict is asked for. What is malformed is left out
// only of a tool that isn't strict: it never refuses its neighbours. On a text thread.
Result<void> check_grammar(const GrammarRequest& request);
// X-Altlas-Ignored, if anything was left out: "field#/pointer" of each keyword, with commas; the
// last of many is "12 more".
void add_ignored(const std::vector<std::string>& ignored, Response& response);

}  // namespace altlas::server
