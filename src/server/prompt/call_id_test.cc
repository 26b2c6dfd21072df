// Goal: ids of calls have the form that clients and templates ask for, and any id that was sent
// still names its call. Method: templates and conversations, and the ids that come out.
#include "server/prompt/call_id.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json.hpp>
#include <set>

namespace altlas::server {
namespace {

namespace json = boost::json;

bool is_plain(const std::string& id, size_t size) {
  const auto plain = [](unsigned char c) { return std::isalnum(c) != 0; };
  return id.size() == size && std::ranges::all_of(id, plain);
}

TEST(CallId, WhatTemplatesDemand) {
  const std::pair<const char*, uint32_t> rows[] = {
      {"{%- if not tool_call.id is defined or tool_call.id|length != 9 %}", 9},
      {"{% if (message.tool_call_id | length) != 9 %}", 9},
      {"{% if tool_call['id']|length!=9 %}", 9},
      {"{% if call.id | length > 12 %}", 12},
      {"{% if message.tool_calls|length != 1 %}", 0},
      {"{% if messages|length > 9 %}{{ tool_call.name }}", 0},
      {"{{ tool_call.id }}", 0},
      {"{% if tool_call.id|length != 900 %}", 0},
  };
  for (const auto& [source, size] : rows)
    EXPECT_EQ(call_id_size(source, text::ToolFormat::kHermes), size) << source;
  EXPECT_EQ(call_id_size("", text::ToolFormat::kMistral), 9u);
}

TEST(CallId, FormAndDifference) {
  std::set<std::string> all;
  for (const char* request : {"chatcmpl-1", "chatcmpl-ad54b7eedd8147c97d7cd298fdc76c6b"})
    for (size_t choice = 0; choice < 20; ++choice)
      for (size_t number = 0; number < 20; ++number) {
        const std::string own = call_id(request, choice, number, 0);
        const std::string nine = call_id(request, choice, number, 9);
        EXPECT_TRUE(own.starts_with("call_") && own.size() <= 40 && is_plain(own.substr(5), 24));
        EXPECT_TRUE(is_plain(nine, 9)) << nine;
        EXPECT_EQ(call_id(request, choice, number, 9), nine);
        all.insert({own, nine});
      }
  EXPECT_EQ(all.size(), 1600u);
}

// Returns the ids of the calls, then those of the answers.
std::vector<std::string> fit(const std::string& messages) {
  json::value list = json::parse(messages);
  fit_call_ids(list, 9);
  std::vector<std::string> out;
  for (const json::value& message : list.as_array()) {
    const json::object& object = message.as_object();
    if (const json::value* calls = object.if_contains("tool_calls"))
      for (const json::value& call : calls->as_array())
        out.emplace_back(call.at("id").as_string());
    if (const json::value* id = object.if_contains("tool_call_id")) out.emplace_back(id->as_string());
  }
  return out;
}

TEST(CallId, EveryAnswerFindsItsCall) {
  const std::string own = call_id("chatcmpl-1", 0, 0, 9);
  struct Row {
    std::string first, second;  // The ids that were sent; empty: none.
  };
  for (const Row& row : {Row{own, call_id("chatcmpl-1", 0, 1, 9)},
                         Row{"call_abc_0_0", "chatcmpl-tool-0123456789abcdef0123456789abcdef"},
                         Row{"call_1", "call_2"}, Row{"", ""}, Row{"toolu_01A09q90qw90lq", ""}}) {
    const auto id = [](const char* name, const std::string& value) {
      return value.empty() ? std::string() : std::string(", \"") + name + "\": \"" + value + "\"";
    };
    const auto ids = fit(
        R"([{"role":"user","content":"x"},{"role":"assistant","tool_calls":[{"function":{})" +
        id("id", row.first) + R"(},{"function":{})" + id("id", row.second) +
        R"(}]},{"role":"tool","content":"1")" + id("tool_call_id", row.first) +
        R"(},{"role":"tool","content":"2")" + id("tool_call_id", row.second) + "}]");
    ASSERT_EQ(ids.size(), 4u);
    for (const std::string& one : ids) EXPECT_TRUE(is_plain(one, 9)) << one;
    EXPECT_EQ(ids[0], ids[2]);
    EXPECT_EQ(ids[1], ids[3]);
    EXPECT_NE(ids[0], ids[1]);
    if (row.first == own) EXPECT_EQ(ids[0], own);
  }
}

}  // namespace
}  // namespace altlas::server
