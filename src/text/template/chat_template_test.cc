// Goal: renderings equal those of transformers' apply_chat_template, and errors say what is wrong
// and where. Method: cases made by testdata/make_template_fixtures.py.
#include "text/template/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>

#include "text/template/test_json.h"
#include "text/tokenizer/test_vocabulary.h"

namespace altlas::text {
namespace {

using ::testing::HasSubstr;
using testing_support::chat_input;
using testing_support::member;
using testing_support::qwen_template;
using testing_support::read_lines;
using testing_support::render;
using testing_support::value_of_json;

std::string joined(const std::vector<Segment>& segments) {
  std::string text;
  for (const Segment& segment : segments) text += segment.text;
  return text;
}

TEST(ChatTemplate, RendersAsTransformers) {
  // It has more cases than are committed.
  const char* file = std::getenv("ALTLAS_TEST_TEMPLATE_CASES");
  size_t seen = 0;
  std::map<std::string, int> wrong;
  for (const std::string& line : read_lines(file != nullptr ? file : "template_cases.jsonl")) {
    const Value test = value_of_json(line);
    const Value source = member(test, "source"), name = member(test, "name");
    const std::string text = source.is_string() ? std::string(source.view()) : qwen_template();
    const ChatInput input = chat_input(member(test, "input"));
    const auto got = render(text, input);
    const std::string shown = name.is_string() ? std::string(name.view()) : text.substr(0, 1500);
    ++seen;
    if (wrong[shown] > 0) continue;
    const bool fails = member(test, "fails").truthy();
    if (fails) {
      EXPECT_FALSE(got.ok()) << shown << "\ngave: " << *got;
    } else if (!got.ok()) {
      ADD_FAILURE() << shown << "\n" << got.error().message();
    } else {
      EXPECT_EQ(*got, member(test, "expected").view()) << shown;
      EXPECT_EQ(joined(*ChatTemplate::compile(text)->render_segments(input)), *got);
    }
    wrong[shown] += got.ok() == fails || (got.ok() && *got != member(test, "expected").view());
  }
  EXPECT_GT(seen, 100u);
}

TEST(ChatTemplate, ErrorsSayWhereAndWhat) {
  EXPECT_THAT(render("a\n\n{{ x.y }}", {}).error().message(),
              HasSubstr("line 3: 'x' is undefined"));
  EXPECT_THAT(render("{{ raise_exception('no system role') }}", {}).error().message(),
              HasSubstr("no system role"));
  EXPECT_THAT(ChatTemplate::compile("\n{% include 'x' %}").error().message(),
              HasSubstr("line 2: 'include'"));
  EXPECT_EQ(ChatTemplate::compile("{{ 1 ").error().field(), "chat_template");
}

TEST(ChatTemplate, TellsTimeInUtc) {
  ChatInput input;
  input.now_us = 1'700'000'000'000'000;
  EXPECT_EQ(*render("{{ strftime_now('%d %b %Y %H:%M') }}", input), "14 Nov 2023 22:13");
}

}  // namespace
}  // namespace altlas::text
