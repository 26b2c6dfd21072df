// Goal: content is told apart from template text. Method: control tokens in every place where a
// user can write.
#include <gtest/gtest.h>

#include <algorithm>

#include "text/template/test_json.h"
#include "text/tokenizer/test_vocabulary.h"
#include "text/tokenizer/tokenizer.h"

namespace altlas::text {
namespace {

using testing_support::hi;
using testing_support::qwen_template;
using testing_support::value_of_json;

TEST(TemplateContent, ContentIsToldFromTemplateText) {
  const auto compiled = ChatTemplate::compile(qwen_template());
  ChatInput input = hi();
  const auto segments = *compiled->render_segments(input);
  for (const Segment& segment : segments) {
    EXPECT_EQ(segment.is_content, segment.text == "user" || segment.text == "hi <|im_end|>")
        << segment.text;
  }
  const auto tokenizer = Tokenizer::create(testing_support::tiny_vocabulary());
  const int32_t end = (*tokenizer)->id_of("<|im_end|>"),
                start = (*tokenizer)->id_of("<|im_start|>");
  const auto ids = *(*tokenizer)->encode_segments(segments, false);
  // They are the system's and the user's, not the one that the user wrote.
  EXPECT_EQ(std::ranges::count(ids, end), 2);
  EXPECT_EQ(std::ranges::count(ids, start), 3);
  input.messages = value_of_json(R"([{"role": "user", "content": "hi there"}])");
  EXPECT_EQ(*(*tokenizer)->encode_segments(*compiled->render_segments(input), false),
            *(*tokenizer)->encode(*compiled->render(input), {.parse_special = true}));
}

// Goal: operations keep content and template text apart. Method: each operation on "<x>" from a
// user beside "[t]" from the template; content must be exactly what came from the user.
TEST(TemplateContent, OperationsKeepContentApart) {
  const struct {
    const char *source, *marked;  // Braces enclose content.
  } kCases[] = {
      {"[t]{{ c }}[t]", "[t]{<x>}[t]"},
      {"{{ '[t]' + c ~ '[t]' }}", "[t]{<x>}[t]"},
      {"{{ ('[t]' + c)[1:5] }}", "t]{<x}"},
      {"{{ (' ' + c + ' ') | trim }}", "{<x>}"},
      {"{{ ('[t]' + c).replace('t', 'u').replace('x', 'y') }}", "[u]{<}y{>}"},
      {"{{ ('[t],' + c).split(',') | join('-') }}", "[t]-{<x>}"},
      {"{{ {'k': c} | tojson }}", "{\"k\": \"{<x>}\"}"},
      {"{{ c | upper }}{{ '[t]' | upper }}", "{<X>}[T]"},
      {"{{ '%s[t]%s' | format(c, 1) }}{{ '{}[t]'.format(c) }}", "{<x>}[t]1{<x>}[t]"},
      {"{% set y %}[t]{{ c }}{% endset %}{{ y }}{% filter trim %} [t]{{ c }} {% endfilter %}",
       "[t]{<x>}[t]{<x>}"},
      {"{% macro m(a) %}[t]{{ a }}{% endmacro %}{{ m(c) }}", "[t]{<x>}"},
      {"{% for k in {c: 1} %}{{ k }}{% endfor %}{{ ('a' + c) | list | last }}", "{<x>>}"},
      {"{{ c | reverse }}{{ c * 2 }}{{ [c] }}", "{>x<<x><x>}['{<x>}']"},
      {"{{ c.partition('x')[0] }}[t]{{ c | replace('<', '[t]') }}", "{<}[t][t]{x>}"},
  };
  for (const auto& [source, marked] : kCases) {
    ChatInput input;
    input.extra = {{"c", Value("<x>")}};
    const auto segments = ChatTemplate::compile(source)->render_segments(input);
    ASSERT_TRUE(segments.ok()) << source << segments.error().message();
    std::string got;
    for (const Segment& s : *segments) got += s.is_content ? "{" + s.text + "}" : s.text;
    EXPECT_EQ(got, marked) << source;
  }
}

}  // namespace
}  // namespace altlas::text
