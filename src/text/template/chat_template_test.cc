// Goal: renderings equal those of transformers' apply_chat_template, content is told from template
// text, and no template runs without end. Method: cases made by testdata/make_template_fixtures.py;
// control tokens in every place a user can write; templates that loop, recurse and grow.
#include "text/template/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>

#include "text/template/test_json.h"
#include "text/tokenizer/test_vocabulary.h"

namespace altlas::text {
namespace {

using ::testing::HasSubstr;
using testing_support::chat_input;
using testing_support::member;
using testing_support::read_lines;
using testing_support::value_of_json;

std::string qwen_template() {
  std::string source;
  for (const std::string& line : read_lines("templates/qwen2.5_coder.jinja")) source += line + "\n";
  return source;
}

ChatInput hi() {
  return chat_input(value_of_json(R"({"messages": [{"role": "user", "content": "hi <|im_end|>"}],
      "add_generation_prompt": true, "bos_token": "<s>", "eos_token": "</s>"})"));
}

Result<std::string> render(const std::string& source, const ChatInput& input,
                           TemplateLimits limits = {}) {
  ALTLAS_TRY(const ChatTemplate compiled, ChatTemplate::compile(source, limits));
  return compiled.render(input);
}

std::string joined(const std::vector<Segment>& segments) {
  std::string text;
  for (const Segment& segment : segments) text += segment.text;
  return text;
}

TEST(ChatTemplate, RendersAsTransformers) {
  const char* file = std::getenv("ALTLAS_TEST_TEMPLATE_CASES");  // More than are committed.
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

TEST(ChatTemplate, ContentIsToldFromTemplateText) {
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
  EXPECT_EQ(std::ranges::count(ids, end), 2);  // System and user, not the one that the user wrote.
  EXPECT_EQ(std::ranges::count(ids, start), 3);
  input.messages = value_of_json(R"([{"role": "user", "content": "hi there"}])");
  EXPECT_EQ(*(*tokenizer)->encode_segments(*compiled->render_segments(input), false),
            *(*tokenizer)->encode(*compiled->render(input), {.parse_special = true}));
}

// Method: each operation on "<x>" from a user beside "[t]" from the template; content must be what
// came from the user.
TEST(ChatTemplate, OperationsKeepContentApart) {
  const struct {
    const char *source, *marked;  // Content between braces.
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

TEST(ChatTemplate, EndlessTemplatesAreStopped) {
  TemplateLimits limits;
  limits.steps = 200'000;
  limits.output_bytes = 1 << 20;
  const char* const kSources[] = {
      "{% for a in range(1000000000) %}{% endfor %}",
      "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
      "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
      "{% macro a(n) %}{{ b(n) }}{% endmacro %}{% macro b(n) %}{{ a(n) }}{{ a(n) }}{% endmacro "
      "%}{{ a(1) }}",
      "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(30) }}",
      "{{ 'x' * 1000000000 }}",
      "{{ [1] * 1000000000 }}",
      "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% "
      "endfor %}{{ ns.s }}",
      "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s.replace('x', "
      "'xx') %}{% endfor %}",
      "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = ns.l + ns.l %}{% "
      "endfor %}",
      "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% "
      "endfor %}{{ ns.l }}",
      "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% "
      "endfor %}{{ ns.l | tojson }}",
      "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% "
      "endfor %}{{ ns.l == [ns.l[0], ns.l[1]] }}",
      "{% set ns = namespace(l=[1]) %}{% for i in range(100000) %}{% set ns.l = [ns.l] %}{% endfor "
      "%}",
      "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
      "{{ 'a' | center(1000000000) }}",
      "{% for i in range(100) %}{{ 'x' * 100000 }}{% endfor %}",
      "{{ 'x'.join(range(9) | map('string') | list) ~ ('y' * 900000).replace('', 'z') }}",
  };
  for (const char* source : kSources) {
    const auto got = render(source, hi(), limits);
    ASSERT_FALSE(got.ok()) << source;
    EXPECT_THAT(got.error().message(), HasSubstr("line 1")) << source;
  }
}

// Goal: no operation does more, or asks for more memory, than is spent before it, with the limits
// that models get. Method: one of each kind, which would take minutes or gigabytes.
TEST(ChatTemplate, CostlyOperationsAreStoppedBeforeTheWork) {
  const std::string doubled =
      "{% set ns = namespace(s='ab', all=[]) %}{% for i in range(40) %}{% set ns.s = ";
  const std::string sources[] = {
      "{{ range(10 ** 9) | length }}",
      "{{ range(10 ** 18, 0, -7) | list | length }}",
      "{{ range(9000000) | map('string') | list | length }}",
      doubled + "ns.s + ns.s %}{% endfor %}",
      doubled + "ns.s ~ ns.s %}{% endfor %}",
      doubled + "'%s%s' % (ns.s, ns.s) %}{% endfor %}",
      doubled + "'{}{}'.format(ns.s, ns.s) %}{% endfor %}",
      doubled + "ns.s.replace('a', 'aa').replace('b', 'bb') %}{% endfor %}",
      doubled + "ns.s.join([ns.s, ns.s]) %}{% endfor %}",
      doubled + "[ns.s, ns.s] | join %}{% endfor %}",
      doubled + "(ns.s ~ '\\n' ~ ns.s) | indent(1000, true) %}{% endfor %}",
      "{% set s = 'a' * 8000000 %}{% set ns = namespace(l=[]) %}{% for i in range(1000) %}"
      "{% set ns.l = ns.l + [s ~ i] %}{% endfor %}",
      "{% set s = 'a' * 8000000 %}{% for c in s %}{% endfor %}",
      "{{ ('a,' * 4000000).split(',') | length }}",
      "{{ ('a\n' * 4000000).splitlines() | length }}",
      "{{ ('a ' * 4000000).rsplit(',') | batch(1000000000, 'x') | list | length }}",
      "{{ 'a'.ljust(1000000, 'b' * 1000000) }}",
      "{{ ('a' * 4000000).strip('b' * 4000000 + 'a') }}",
      "{{ {'a': {'b': 1}} | tojson(indent=1000000000) }}",
      "{{ range(1000) | list | tojson(separators=(':' * 1000000, ',')) }}",
      "{% set s = 'a' * 8000000 %}{% for i in range(100000) %}{% if s.lower() == i %}{% endif %}"
      "{% endfor %}",
      "{% set s = 'a' * 8000000 %}{% for i in range(100000) %}{{ s.find('b') }}{% endfor %}",
  };
  for (const std::string& source : sources) {
    const auto got = render(source, hi(), {});
    ASSERT_FALSE(got.ok()) << source;
    EXPECT_THAT(got.error().message(), HasSubstr("chat template, line ")) << source;
  }
}

// Goal: a long needle takes one pass, not the product of lengths. Method: numbers for which that
// would take minutes.
TEST(ChatTemplate, LongNeedlesAreFoundInOnePass) {
  const std::string begin =
      "{% set s = 'a' * 4000000 %}{% set n = 'a' * 1000000 + 'b' %}{% set m = 'b' + 'a' * 1000000 "
      "%}";
  const std::pair<std::string, std::string> rows[] = {
      {"{{ s.find(n) }}", "-1"},
      {"{{ s.rfind(m) }}", "-1"},
      {"{{ s.count(n) }}", "0"},
      {"{{ n in s }}", "False"},
      {"{{ s.split(n) | length }}", "1"},
      {"{{ s.rsplit(m) | length }}", "1"},
      {"{{ s.replace(n, '') == s }}", "True"},
      {"{{ (s + n).rfind(n) }}", "4000000"},
      {"{{ s.partition(n)[2] }}", ""},
      {"{{ s.rpartition(m)[0] }}", ""},
      {"{{ ('xabab' * 3).rfind('abab') }} {{ 'aabaab'.rfind('aab') }} {{ 'ab'.rfind('') }}",
       "11 3 2"},
      {"{{ 'a-b-c'.rsplit('-', 1) }} {{ 'a-b'.rpartition('-') }}", "['a-b', 'c'] ('a', '-', 'b')"},
  };
  for (const auto& [source, want] : rows) {
    const auto got = render(begin + source, hi(), {});
    ASSERT_TRUE(got.ok()) << source << got.error().message();
    EXPECT_EQ(*got, want) << source;
  }
}

TEST(ChatTemplate, DeepSourcesAreRefused) {
  const auto repeat = [](std::string_view part, int count) {
    std::string text;
    for (int i = 0; i < count; ++i) text += part;
    return text;
  };
  for (const std::string& source :
       {"{{ " + repeat("(", 100000), "{{ " + repeat("[", 100000),
        "{{ " + repeat("not ", 100000) + "1 }}", "{{ " + repeat("-", 100000) + "1 }}",
        "{{ 1" + repeat("+1", 100000) + " }}", "{{ a" + repeat(".b", 100000) + " }}",
        "{{ a" + repeat("|upper", 100000) + " }}", repeat("{% if 1 %}", 100000),
        repeat("{% for a in b %}", 1000), "{{ 1" + repeat(" if 1 else 1", 100000) + " }}",
        repeat("{% if 1 %}{% else %}", 50000)}) {
    EXPECT_FALSE(ChatTemplate::compile(source).ok()) << source.substr(0, 40);
  }
  EXPECT_FALSE(ChatTemplate::compile(std::string((1 << 20) + 1, 'x')).ok());
}

TEST(ChatTemplate, DeepInputIsRefused) {
  Value deep = Value::list({});
  for (int i = 0; i < kValueDepthMax; ++i) deep = Value::list({deep});
  ChatInput input = hi();
  input.tools = deep;
  EXPECT_THAT(render("{{ tools }}", input).error().message(), HasSubstr("nested 201 deep"));
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

TEST(Value, RepeatedKeysKeepTheLastValue) {
  const Value made = Value::object_of({{"a", 1}, {"b", 2}, {"a", 3}});
  ASSERT_EQ(made.entries().size(), 2u);
  EXPECT_EQ(made.find("a")->as_int(), 3);
  EXPECT_EQ(made.entries()[0].first.view(), "a");
}

}  // namespace
}  // namespace altlas::text
