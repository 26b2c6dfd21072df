// Goal: methods of strings do what Python's do, in one pass. Method: long texts.
#include "text/template/string_methods.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "text/template/test_json.h"

namespace altlas::text {
namespace {

using testing_support::hi;
using testing_support::render;

// Goal: a long needle takes one pass, not the product of both lengths. Method: lengths for which
// the product would take minutes.
TEST(StringMethods, LongNeedlesAreFoundInOnePass) {
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

}  // namespace
}  // namespace altlas::text
