// Goal: calls of every family are found, whatever the pieces in which the text comes; what only
// looks like a call stays text. Method: whole texts, and the same cut at every place.
#include "server/tool_calls.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "server/tool_request.h"
#include "text/grammar/configurations.h"
#include "text/grammar/program.h"

namespace altlas::server {
namespace {

std::string show(const std::vector<AnswerPiece>& pieces) {
  std::string out;
  AnswerPiece::Kind before = AnswerPiece::Kind::kCall;
  for (const AnswerPiece& piece : pieces) {
    const bool joins = (piece.kind == before && piece.kind != AnswerPiece::Kind::kCall) ||
                       piece.kind == AnswerPiece::Kind::kArguments;
    if (!joins && !out.empty()) out += "|";
    before = piece.kind;
    if (piece.kind == AnswerPiece::Kind::kCall)
      out += "call " + piece.call.name + piece.call.arguments;
    else
      out += (joins                                         ? ""
              : piece.kind == AnswerPiece::Kind::kReasoning ? "think "
                                                            : "text ") +
             piece.text;
  }
  return out;
}

std::string read(AnswerReader::Options options, const std::vector<std::string>& parts) {
  AnswerReader reader(std::move(options));
  std::vector<AnswerPiece> all;
  for (const std::string& part : parts)
    for (AnswerPiece& piece : reader.push(part)) all.push_back(std::move(piece));
  for (AnswerPiece& piece : reader.finish()) all.push_back(std::move(piece));
  return show(all);
}

// Whole, cut once anywhere, and byte by byte.
void expect_cut(const AnswerReader::Options& options, const std::string& text,
                const std::string& want) {
  EXPECT_EQ(read(options, {text}), want) << text;
  for (size_t cut = 1; cut < text.size(); ++cut)
    EXPECT_EQ(read(options, {text.substr(0, cut), text.substr(cut)}), want) << cut << " " << text;
  std::vector<std::string> bytes;
  for (const char c : text) bytes.emplace_back(1, c);
  EXPECT_EQ(read(options, bytes), want) << text;
}

// The same in a stream, or `streamed` there.
void expect(AnswerReader::Options options, const std::string& text, const std::string& want,
            const std::string& streamed) {
  expect_cut(options, text, want);
  options.streams = true;
  expect_cut(options, text, streamed);
}
void expect(const AnswerReader::Options& options, const std::string& text,
            const std::string& want) {
  expect(options, text, want, want);
}

AnswerReader::Options options(ToolFormat format) {
  AnswerReader::Options out;
  out.format = format;
  out.tools = {"f", "get.x"};
  return out;
}

TEST(ToolCalls, Hermes) {
  const auto o = options(ToolFormat::kHermes);
  expect(o, "Hello", "text Hello");
  expect(o, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": [1, \"x\"]}}\n</tool_call>",
         R"(call f{"a":[1,"x"]})");
  expect(o,
         "I look. \n<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>\n"
         "<tool_call>{\"name\":\"get.x\",\"arguments\":{\"b\":2}}</tool_call>",
         R"(text I look.|call f{}|call get.x{"b":2})");
  expect(o, "<tool_call>{\"name\":\"f\",\"arguments\":{}}", "call f{}");
  expect(o, "<tool_call>{\"name\":\"unknown\"}</tool_call> end",
         "text <tool_call>{\"name\":\"unknown\"}</tool_call> end");
  expect(o, "a <tool_call>{\"name\":</tool_call>", "text a <tool_call>{\"name\":</tool_call>");
  expect(o, "1 < 2 <tool 3", "text 1 < 2 <tool 3");
  expect(o, R"({"name": "f", "arguments": {"a": 1}})", R"(call f{"a":1})");
  expect(o, "```json\n{\"name\": \"f\",\n \"arguments\": {\"a\": 1}}\n```\n", R"(call f{"a":1})");
  expect(o, "```json\n{\"a\": 1}\n```", "text ```json\n{\"a\": 1}\n```");
  expect(o, "``` json", "text ``` json");
  expect(o, R"({"name": "g"} is JSON)", R"(text {"name": "g"} is JSON)");
  expect({.format = ToolFormat::kHermes}, "<tool_call>{\"name\":\"f\"}</tool_call>",
         "text <tool_call>{\"name\":\"f\"}</tool_call>");
}

TEST(ToolCalls, OtherFamilies) {
  expect(options(ToolFormat::kLlama), R"(<|python_tag|>{"name": "f", "parameters": {"a": 1}})",
         R"(call f{"a":1})");
  expect(options(ToolFormat::kLlama),
         R"({"name":"f","parameters":{}}; {"name":"get.x","parameters":{"z":null}})",
         R"(call f{}|call get.x{"z":null})");
  expect(options(ToolFormat::kMistral), R"([TOOL_CALLS][{"name":"f","arguments":{"a":1}}])",
         R"(call f{"a":1})");
  expect(options(ToolFormat::kMistral), R"([{"name":"f","arguments":{"a":1}}])",
         R"(call f{"a":1})");
  expect(options(ToolFormat::kMistral), R"([TOOL_CALLS]f[ARGS]{"a":1})", R"(call f{"a":1})");
  expect(options(ToolFormat::kMistral), "[1] is a source.", "text [1] is a source.");
  expect(options(ToolFormat::kDeepSeek),
         "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{\"a\":1}\n"
         "```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
         R"(call f{"a":1})");
  expect(options(ToolFormat::kDeepSeek), "functionf\n```json\n{}\n```", "call f{}");
  expect(options(ToolFormat::kPhi), R"(<|tool_call|>[{"name":"f","arguments":{}}]<|/tool_call|>)",
         "call f{}");
  expect(options(ToolFormat::kPythonic),
         R"([f(a="x\"y", b=[1, 2.5], c={'k': None}), get.x(flag=True)])",
         R"(call f{"a":"x\"y","b":[1,2.5],"c":{"k":null}}|call get.x{"flag":true})");
  expect(options(ToolFormat::kPythonic), "```tool_code\nf(a=1)\n```", R"(call f{"a":1})");
  expect(options(ToolFormat::kPythonic), "[f(1)]", "text [f(1)]");
}

// Method: every family's marks, with the prompt ending in the first of them.
TEST(ToolCalls, ReasoningThatThePromptBegan) {
  for (const char* name : {"<think>", "<seed:think>", "[THINK]", "<|START_THINKING|>", "<thought>",
                           "<|channel|>analysis<|message|>"}) {
    auto o = options(ToolFormat::kHermes);
    o.reasoning = reasoning_of(name);
    o.in_reasoning = true;
    const std::string begin(o.reasoning.begin), end(o.reasoning.end);
    expect(o, "abc" + end + "def", "think abc|text def");
    expect(o, "\nabc\n" + end + "\n\ndef", "think abc\n|text def");
    expect(o, begin + "abc" + end + "def", "think abc|text def");
    expect(o, "abc", "think abc");
    expect(o, "a" + end.substr(0, end.size() - 1), "think a" + end.substr(0, end.size() - 1));
    expect(o, end + "def", "text def");
    expect(o, "", "");
    expect(o, "a {\"name\": 1}" + end + R"(<tool_call>{"name":"f","arguments":{"a":1}}</tool_call>)",
           R"(think a {"name": 1}|call f{"a":1})");
    o.in_reasoning = false;
    expect(o, "abc" + end + "def", "text abc" + end + "def");
    expect(o, begin + "abc" + end + "def", "think abc|text def");
    o.in_reasoning = o.forced = true;
    expect(o, "I [call] it." + end + R"([{"name":"f","arguments":{}}])",
           R"(think I [call] it.|call f{})");
  }
  auto o = options(ToolFormat::kHermes);
  o.reasoning = reasoning_of("<|channel|>analysis<|message|>");
  expect(o, "<|channel|>final<|message|>Yes.", "text Yes.");
}

TEST(ToolCalls, ReasoningForcedAndSingleCalls) {
  auto o = options(ToolFormat::kHermes);
  o.reasoning = reasoning_of("</think>");
  expect(o, "<think>\nWell.\n</think>\n\nYes.", "think Well.\n|text Yes.");
  expect(o, "<think>so</think><tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>",
         "think so|call f{}");
  expect(o, "<thin ice", "text <thin ice");
  o = options(ToolFormat::kPythonic);
  o.forced = true;
  expect(o, R"([{"name":"f","arguments":{}},{"name":"f","arguments":{"a":1}}])",
         R"(call f{}|call f{"a":1})");
  expect(o, R"([{"name":"f","argu)", R"(text [{"name":"f","argu)");
  expect(o, R"([{"name":"f","arguments":{"a":)", R"(text [{"name":"f","arguments":{"a":)",
         R"(call f{"a":)");
  o.one_call = true;
  expect(o, R"([{"name":"f","arguments":{}},{"name":"f","arguments":{"a":1}}])", "call f{}");
}

TEST(ToolCalls, MoreNotations) {
  expect(options(ToolFormat::kMistral), R"([TOOL_CALLS]f[ARGS]{"a":1}[TOOL_CALLS]get.x{"b": {}})",
         R"(call f{"a":1}|call get.x{"b":{}})");
  expect(options(ToolFormat::kDeepSeek),
         "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{\"a\":1}<｜tool▁call▁end｜>"
         "<｜tool▁call▁begin｜>get.x<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
         R"(call f{"a":1}|call get.x{})");
  expect(options(ToolFormat::kPythonic), R"([{"name": "f", "arguments": {"a": 1}}])",
         R"(call f{"a":1})");
  expect(options(ToolFormat::kPythonic), "```tool_code\nf()\nget.x(a=1)",
         R"(call f{}|call get.x{"a":1})");
  expect(options(ToolFormat::kPythonic), "[f(a=1,), get.x()]", R"(call f{"a":1}|call get.x{})");
  const auto o = options(ToolFormat::kHermes);
  expect(o, "<tool_call>```json\n{\"name\":\"f\"}\n```</tool_call>", "call f{}");
  expect(o, R"(<tool_call>{"arguments": {"a": [1.50, true]}, "name": "f"}</tool_call>)",
         R"(call f{"a":[1.50,true]})");
  expect(o, R"(<tool_call>{"name": "f", "arguments": "{\"a\": [1, {}]}"}</tool_call>)",
         R"(call f{"a":[1,{}]})");
  expect(o,
         R"(<tool_call>{"type": "function", "id": 7, "function": {"name": "f", "arguments": null}})"
         "</tool_call>",
         "call f{}");
  expect(o,
         R"(<tool_call>{"name":"f","arguments":{"a":"</tool_call> \u00fc\n\"","b":-1e5}})"
         "</tool_call>!",
         R"(call f{"a":"</tool_call> ü\n\"","b":-1e5}|text !)");
}

TEST(ToolCalls, WhatBreaksIsText) {
  const auto o = options(ToolFormat::kHermes);
  for (const std::string bad :
       {R"({"name": "f", "arguments": [1]})", R"({"name": 1})", R"({"arguments": {}})", "[]", "[1]",
        R"({"name":"f","name":"f"})", R"({"name":"unknown","arguments":{"a":1}})", "f(a=1)",
        R"({"arguments":{},"parameters":{},"name":"f"})", R"({"name":"f","arguments":"[]"})",
        "{"}) {
    const std::string text = "<tool_call>" + bad + "</tool_call>";
    expect(o, text, "text " + text);
  }
  // Told before it broke: the arguments stay unfinished, the rest is text.
  expect(o, "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\": 1,, \"b\"}}</tool_call> so",
         "text <tool_call>{\"name\":\"f\",\"arguments\":{\"a\": 1,, \"b\"}}</tool_call> so",
         R"(call f{"a":1|text , "b"}}</tool_call> so)");
  expect(o, R"(<tool_call>[{"name":"f"}, {"name":"unknown"}]</tool_call>)",
         R"(text <tool_call>[{"name":"f"}, {"name":"unknown"}]</tool_call>)",
         R"(call f{}|text , {"name":"unknown"}]</tool_call>)");
  expect(o, "<tool_call>{\"name\":\"f\"}</tool", "call f{}");
  expect(options(ToolFormat::kMistral), R"([TOOL_CALLS]unknown[ARGS]{"a":1})",
         R"(text [TOOL_CALLS]unknown[ARGS]{"a":1})");
  expect(options(ToolFormat::kPythonic), "[f(a=1, 2)]", "text [f(a=1, 2)]",
         R"(call f{"a":1|text , 2)])");
  const std::string deep =
      "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":" + std::string(80, '[');
  AnswerReader reader(o);
  std::vector<AnswerPiece> all = reader.push(deep);
  for (AnswerPiece& piece : reader.finish()) all.push_back(std::move(piece));
  EXPECT_EQ(show(all), "text " + deep);
}

// Goal: arguments are told while they are written, not once they are whole.
TEST(ToolCalls, ArgumentsComeAsTheyAreWritten) {
  const auto told = [](ToolFormat format, const std::string& text) {
    auto o = options(format);
    o.streams = true;
    AnswerReader reader(o);
    return show(reader.push(text));
  };
  EXPECT_EQ(told(ToolFormat::kHermes, R"(<tool_call>{"name": "f")"), "");
  EXPECT_EQ(told(ToolFormat::kHermes, R"(<tool_call>{"name": "f", "arguments": {)"), "call f{");
  EXPECT_EQ(told(ToolFormat::kHermes, R"(<tool_call>{"name": "f", "arguments": {"city": "Anka)"),
            R"(call f{"city":"Anka)");
  EXPECT_EQ(told(ToolFormat::kLlama, R"({"name": "f", "parameters": {"a": [1, )"),
            R"(call f{"a":[1)");
  EXPECT_EQ(told(ToolFormat::kMistral, "[TOOL_CALLS]f[ARGS]"), "call f");
  EXPECT_EQ(told(ToolFormat::kMistral, R"([TOOL_CALLS]f[ARGS]{"a": "x)"), R"(call f{"a":"x)");
  EXPECT_EQ(told(ToolFormat::kPhi, R"(<|tool_call|>[{"name":"f","arguments":{}}, {"na)"),
            "call f{}");
  EXPECT_EQ(told(ToolFormat::kDeepSeek, "functionf\n```json\n{\"a\": 1"), R"(call f{"a":1)");
  EXPECT_EQ(told(ToolFormat::kPythonic, R"([f(a="x", b=)"), R"(call f{"a":"x")");
}

TEST(ToolCalls, SettingsNameFormats) {
  EXPECT_EQ(tool_format_of(ToolCallParser::kAuto, ToolFormat::kPhi), ToolFormat::kPhi);
  EXPECT_EQ(tool_format_of(ToolCallParser::kMistral, ToolFormat::kPhi), ToolFormat::kMistral);
  EXPECT_EQ(tool_format_of(ToolCallParser::kHermes, ToolFormat::kPhi), ToolFormat::kHermes);
}

TEST(ToolCalls, FormatsAreToldByTemplates) {
  EXPECT_EQ(tool_format_of("… <tool_call> …"), ToolFormat::kHermes);
  EXPECT_EQ(tool_format_of("[AVAILABLE_TOOLS] [TOOL_CALLS]"), ToolFormat::kMistral);
  EXPECT_EQ(tool_format_of("<｜tool▁calls▁begin｜>"), ToolFormat::kDeepSeek);
  EXPECT_EQ(tool_format_of("<|start_header_id|> <|python_tag|>"), ToolFormat::kLlama);
  EXPECT_EQ(tool_format_of("<start_of_turn>"), ToolFormat::kPythonic);
  EXPECT_EQ(tool_format_of(""), ToolFormat::kHermes);
}

ToolRequest request(const std::string& body, std::string* error = nullptr) {
  const auto object = parse_object(body, 64);
  EXPECT_TRUE(object.ok());
  JsonReader reader(*object);
  ToolRequest out = read_tools(reader);
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
    const GrammarRequest made = read_grammar(reader);
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

// What check_grammar says of tools[] and of a body's own grammar: the names of X-Altlas-Ignored,
// with blanks, or "400 " and the field.
std::string held(const std::string& body) {
  const auto object = parse_object(body, 64);
  EXPECT_TRUE(object.ok()) << body;
  JsonReader reader(*object);
  const ToolRequest tools = read_tools(reader);
  const GrammarRequest grammar = tools.grammar.given() ? tools.grammar : read_grammar(reader);
  EXPECT_TRUE(reader.status().ok()) << body;
  const auto status = check_grammar(grammar);
  if (!status.ok()) return "400 " + status.error().field();
  std::string out;
  for (const std::string& name : *grammar.ignored) out += (out.empty() ? "" : " ") + name;
  return out;
}

// Goal: what can't be held is refused where strict is asked for, else named; what is malformed is
// refused but for tools that aren't strict; no tool refuses its neighbours.
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
      {R"({"properties":{"a,b":{"uniqueItems":true}}})", "400 " + at + ".properties.a,b.uniqueItems",
       at + "#/properties/a%2Cb/uniqueItems"},
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

// Goal: data in parameters is never read or rewritten as a schema, and references stay within
// their own tool. Method: forced calls, their arguments in and out of the language.
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
    // Both tools have the same names; what they mean differs.
    const std::string id = R"("$id":"https://example.com/s",)";
    const std::string body = R"({"tool_choice":"required","parallel_tool_calls":false,"tools":[
        {"type":"function","function":{"name":"f","parameters":{)" + id +
                             R"("type":"object","properties":{"x":{"$ref":"#n"})" + tail +
                             R"("string"}}}}},
        {"type":"function","function":{"name":"g","parameters":{)" + id +
                             R"("type":"object","properties":{"x":)" + row.schema + tail +
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
