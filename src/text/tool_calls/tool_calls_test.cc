// Goal: calls of every family are found, whatever the pieces in which the text comes; what only
// looks like a call stays text. Method: whole texts, and the same texts cut at every place.
#include "text/tool_calls/tool_calls.h"

#include <gtest/gtest.h>

namespace altlas::text {
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

// Reads the text as a whole, cut once anywhere, and byte by byte.
void expect_cut(const AnswerReader::Options& options, const std::string& text,
                const std::string& want) {
  EXPECT_EQ(read(options, {text}), want) << text;
  for (size_t cut = 1; cut < text.size(); ++cut)
    EXPECT_EQ(read(options, {text.substr(0, cut), text.substr(cut)}), want) << cut << " " << text;
  std::vector<std::string> bytes;
  for (const char c : text) bytes.emplace_back(1, c);
  EXPECT_EQ(read(options, bytes), want) << text;
}

// Expects the same in a stream, or `streamed` there.
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

// Goal: reasoning that the prompt began is told from the answer. Method: every family's marks, with
// a prompt that ends in the first of them.
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
  // The call was reported before it broke: its arguments stay unfinished, and the rest is text.
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

// Goal: arguments are reported while they are written, not once they are whole.
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

}  // namespace
}  // namespace altlas::text
