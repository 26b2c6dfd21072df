// Goal: demanded calls are grammars, in every client's dialect; what a grammar can't hold is
// refused or named, and data stays data. Method: bodies, and whether the grammar they give takes
// certain texts.
#include "server/prompt/tool_request.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "server/body/read.h"
#include "text/grammar/configurations.h"
#include "text/grammar/program.h"

namespace altlas::server {
namespace {

template <class Fields>
Fields fields_of(JsonReader& reader) {
  Fields fields;
  read_fields(reader, fields, config::Config());
  return fields;
}

ToolRequest request(const std::string& body, std::string* error = nullptr) {
  const auto object = parse_object(body, 64);
  EXPECT_TRUE(object.ok());
  JsonReader reader(*object);
  ToolRequest out = read_tools(fields_of<ToolFields>(reader), reader);
  if (error != nullptr) *error = reader.status().ok() ? "" : reader.status().error().field();
  return out;
}

constexpr std::string_view kTools = R"("tools": [
  {"type": "function", "function": {"name": "f", "parameters": {"type": "object",
    "properties": {"a": {"$ref": "#/$defs/n"}}, "required": ["a"], "additionalProperties": false,
    "$defs": {"n": {"type": "integer"}}}}},
  {"type": "function", "function": {"name": "g"}}])";

TEST(ToolRequests, DemandedCallsAreGrammars) {
  const std::string tools(kTools);
  EXPECT_FALSE(request("{" + tools + "}").grammar.given());
  EXPECT_EQ(request("{" + tools + R"(, "tool_choice": "none"})").tools, nullptr);
  for (const std::string more : {R"("tool_choice": "required")",
                                 R"("tool_choice": "required", "parallel_tool_calls": false)",
                                 R"("tool_choice": {"type":"function","function":{"name":"f"}})"}) {
    const ToolRequest made = request("{" + tools + ", " + more + "}");
    ASSERT_TRUE(made.grammar.given());
    EXPECT_TRUE(check_grammar(made.grammar).ok()) << made.grammar.grammar.text;
  }
  std::string field;
  request(R"({"tool_choice": "required"})", &field);
  EXPECT_EQ(field, "tool_choice");
  request("{" + tools + R"(, "tool_choice": {"type":"function","function":{"name":"h"}}})", &field);
  EXPECT_EQ(field, "tool_choice");
  request(R"({"tools": [{"function": {}}]})", &field);
  EXPECT_EQ(field, "tools[0]");
  request(R"({"tools": [{"function": {"name": "a b"}}]})", &field);
  EXPECT_EQ(field, "tools[0].function.name");
}

TEST(GrammarRequests, FieldsOfEveryDialect) {
  const auto kind = [](const std::string& body, std::string* error = nullptr) {
    const auto object = parse_object(body, 64);
    JsonReader reader(*object);
    const GrammarRequest made = read_grammar(fields_of<GrammarFields>(reader), reader);
    if (error != nullptr)
      *error = reader.status().ok()
                   ? check_grammar(made).ok() ? "" : check_grammar(made).error().field()
                   : reader.status().error().field();
    return made.grammar.kind;
  };
  EXPECT_EQ(kind("{}"), GrammarKind::kNone);
  EXPECT_EQ(kind(R"({"response_format": {"type": "text"}})"), GrammarKind::kNone);
  EXPECT_EQ(kind(R"({"response_format": {"type": "json_object"}})"), GrammarKind::kJsonObject);
  EXPECT_EQ(kind(R"({"response_format": {"type": "json_schema", "json_schema": {"name": "x",
                     "schema": {"type": "integer"}}}})"),
            GrammarKind::kJsonSchema);
  EXPECT_EQ(kind(R"({"guided_json": {"type": "integer"}})"), GrammarKind::kJsonSchema);
  EXPECT_EQ(kind(R"({"guided_regex": "a+"})"), GrammarKind::kRegex);
  EXPECT_EQ(kind(R"({"guided_choice": ["a+", "b"]})"), GrammarKind::kRegex);
  EXPECT_EQ(kind(R"({"structured_outputs": {"grammar": "root ::= \"x\""}})"), GrammarKind::kGbnf);
  EXPECT_EQ(kind(R"({"grammar": "root ::= \"x\""})"), GrammarKind::kGbnf);
  EXPECT_EQ(kind(R"({"json_schema": {}})"), GrammarKind::kJsonSchema);
  for (const char* none : {R"({"guided_json": ""})", R"({"guided_regex": ""})", R"({"grammar": ""})",
                           R"({"guided_grammar": "", "json_schema": ""})",
                           R"({"structured_outputs": {"regex": "", "json": null}})"})
    EXPECT_EQ(kind(none), GrammarKind::kNone) << none;
  EXPECT_EQ(kind(R"({"guided_regex": "", "guided_json": {}})"), GrammarKind::kJsonSchema);
  std::string field;
  kind(R"({"guided_regex": "a", "grammar": "root ::= \"x\""})", &field);
  EXPECT_EQ(field, "grammar");
  kind(R"({"response_format": {"type": "yaml"}})", &field);
  EXPECT_EQ(field, "response_format.type");
  kind(R"({"response_format": {"type": "json_schema"}})", &field);
  EXPECT_EQ(field, "response_format.json_schema.schema");
  kind(R"({"guided_json": {"properties": {"a": {"minItems": "2"}}}})", &field);
  EXPECT_EQ(field, "guided_json.properties.a.minItems");
  kind(R"({"guided_regex": "(a"})", &field);
  EXPECT_EQ(field, "guided_regex");
  kind(R"({"guided_choice": []})", &field);
  EXPECT_EQ(field, "guided_choice");
  kind(R"({"structured_outputs": {"choice": 3}})", &field);
  EXPECT_EQ(field, "structured_outputs.choice");
}

// Returns what check_grammar() says of tools[] and of a body's own grammar: the names of
// X-Altlas-Ignored, separated by blanks, or "400 " and the field.
std::string held(const std::string& body) {
  const auto object = parse_object(body, 64);
  EXPECT_TRUE(object.ok()) << body;
  JsonReader reader(*object);
  const ToolRequest tools = read_tools(fields_of<ToolFields>(reader), reader);
  const auto fields = fields_of<GrammarFields>(reader);
  const GrammarRequest grammar =
      tools.grammar.given() ? tools.grammar : read_grammar(fields, reader);
  EXPECT_TRUE(reader.status().ok()) << body;
  const auto status = check_grammar(grammar);
  if (!status.ok()) return "400 " + status.error().field();
  std::string out;
  for (const std::string& name : *grammar.ignored) out += (out.empty() ? "" : " ") + name;
  return out;
}

// Goal: what a grammar can't hold is refused if strict is asked for, else named; what is malformed
// is refused, except for tools that aren't strict; no tool makes others be refused.
TEST(GrammarRequests, WhatCantBeHeldIsRefusedOrNamed) {
  const auto format = [](const std::string& schema, bool strict) {
    return R"({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": )" +
           std::string(strict ? "true" : "false") + R"(, "schema": )" + schema + "}}}";
  };
  struct Row {
    std::string schema, strict, loose;
  };
  const std::string at = "response_format.json_schema.schema";
  const Row rows[] = {
      {R"({"type":"array","uniqueItems":true,"items":{"type":"string"}})", "", ""},
      {R"({"properties":{"p":{"multipleOf":0.05}}})", "", ""},
      {R"({"properties":{"a,b":{"uniqueItems":true}}})",
       "400 " + at + ".properties.a,b.uniqueItems", at + "#/properties/a%2Cb/uniqueItems"},
      {R"x({"items":{"anyOf":[{"pattern":"(x)\\1"},{"type":"null"}]}})x",
       "400 " + at + ".items.anyOf[0].pattern", at + "#/items/anyOf/0/pattern"},
      {R"({"properties":{"a":{"$ref":"https://example.com/other.json"}}})",
       "400 " + at + ".properties.a.$ref", at + "#/properties/a/$ref"},
      {R"({"pattern":".*a.{20}b","type":"string","maxLength":3000})", "400 " + at + ".pattern",
       at + "#/pattern"},
      {R"({"properties":{"a":{"type":"strnig"}}})", "400 " + at + ".properties.a.type",
       "400 " + at + ".properties.a.type"},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(held(format(row.schema, true)), row.strict) << row.schema;
    EXPECT_EQ(held(format(row.schema, false)), row.loose) << row.schema;
  }
  const auto tools = [](const std::string& second, bool strict) {
    return R"({"tool_choice": "required", "tools": [{"type": "function", "function": {"name": "f",
              "strict": true, "parameters": {"properties": {"a": {"type": "integer"}}}}},
              {"type": "function", "function": {"name": "g", "strict": )" +
           std::string(strict ? "true" : "false") + R"(, "parameters": )" + second + "}}]}";
  };
  const std::string place = "tools[1].function.parameters";
  for (const std::string bad : {R"({"properties":{"x":{"type":"strnig"}}})",
                                R"x({"properties":{"x":{"type":"string","pattern":"(a"}}})x",
                                R"({"properties":{"x":{"$ref":"#/$defs/none"}}})",
                                R"({"properties":{"x":{"uniqueItems":true}}})"}) {
    EXPECT_EQ(held(tools(bad, false)).rfind(place + "#/properties/x/", 0), 0u) << bad;
    EXPECT_EQ(held(tools(bad, true)).rfind("400 " + place + ".properties.x.", 0), 0u) << bad;
  }
}

bool fits(const Grammar& grammar, std::string_view text) {
  const auto program = text::grammar::compile(grammar);
  EXPECT_TRUE(program.ok()) << grammar.text;
  text::grammar::Configurations all(*program);
  int32_t at = all.start();
  for (const char c : text) at = all.next(at, static_cast<uint8_t>(c));
  return all.at(at).is_final;
}

// Goal: data in parameters is never read or rewritten as a schema, and references stay within their
// own tool. Method: forced calls, with arguments in the language and outside it.
TEST(ToolRequests, DataInParametersStaysData) {
  struct Row {
    std::string schema, in, out;
  };
  const Row rows[] = {
      {R"({"const":{"$ref":"#/a"}})", R"({"$ref":"#/a"})", R"({"$ref":"#/properties/x"})"},
      {R"({"enum":[{"$ref":"#"},[{"$ref":"#/$defs/n"}]]})", R"([{"$ref":"#/$defs/n"}])", "1"},
      {R"({"const":{"$id":"http://x/y","$anchor":"n","type":"int"}})",
       R"({"$id":"http://x/y","$anchor":"n","type":"int"})", "{}"},
      {R"({"type":"integer","default":{"$ref":"#/none"},"examples":[{"$ref":"#/none"}]})", "7",
       "\"a\""},
      {R"({"properties":{"$ref":{"const":"#/a"}},"required":["$ref"],"additionalProperties":false})",
       R"({"$ref":"#/a"})", R"({"$ref":"#/b"})"},
      {R"({"$ref":"#/$defs/n"})", "3", "\"b\""},
      {R"({"$ref":"#n"})", "3", "\"b\""},
      {R"({"$ref":"https://example.com/s#/$defs/n"})", "3", "\"b\""},
  };
  for (const Row& row : rows) {
    const std::string tail = R"(},"required":["x"],"additionalProperties":false,
        "$defs":{"n":{"$anchor":"n","type":)";
    // Both tools use the same names with different meanings.
    const std::string id = R"("$id":"https://example.com/s",)";
    const std::string body = R"({"tool_choice":"required","parallel_tool_calls":false,"tools":[
        {"type":"function","function":{"name":"f","parameters":{)" +
                             id + R"("type":"object","properties":{"x":{"$ref":"#n"})" + tail +
                             R"("string"}}}}},
        {"type":"function","function":{"name":"g","parameters":{)" +
                             id + R"("type":"object","properties":{"x":)" + row.schema + tail +
                             R"("integer"}}}}}]})";
    const ToolRequest made = request(body);
    ASSERT_TRUE(check_grammar(made.grammar).ok()) << row.schema;
    EXPECT_TRUE(made.grammar.ignored->empty()) << row.schema;
    const auto call = [](const std::string& name, const std::string& value) {
      return R"({"name":")" + name + R"(","arguments":{"x":)" + value + "}}";
    };
    EXPECT_TRUE(fits(made.grammar.grammar, call("g", row.in))) << row.schema;
    EXPECT_FALSE(fits(made.grammar.grammar, call("g", row.out))) << row.schema;
    EXPECT_TRUE(fits(made.grammar.grammar, call("f", "\"s\""))) << row.schema;
    EXPECT_FALSE(fits(made.grammar.grammar, call("f", "3"))) << row.schema;
  }
}

}  // namespace
}  // namespace altlas::server
