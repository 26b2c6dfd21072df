// Goal: no template runs without end or takes more than its limits. Method: templates that loop,
// recurse and grow.
#include "text/template/rendering.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "text/template/test_json.h"

namespace altlas::text {
namespace {

using ::testing::HasSubstr;
using testing_support::hi;
using testing_support::render;

TEST(Rendering, EndlessTemplatesAreStopped) {
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

// Goal: with the limits that models get, no operation does more work, or asks for more memory, than
// is spent before it. Method: one operation of each kind, which would take minutes or gigabytes.
TEST(Rendering, CostlyOperationsAreStoppedBeforeTheWork) {
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

TEST(Rendering, DeepInputIsRefused) {
  Value deep = Value::list({});
  for (int i = 0; i < kValueDepthMax; ++i) deep = Value::list({deep});
  ChatInput input = hi();
  input.tools = deep;
  EXPECT_THAT(render("{{ tools }}", input).error().message(), HasSubstr("nested 201 deep"));
}

}  // namespace
}  // namespace altlas::text
