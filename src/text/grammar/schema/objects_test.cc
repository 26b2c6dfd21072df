// Goal: members are held by name, order and number. Method: texts inside and outside of small
// languages.
#include <gtest/gtest.h>

#include "text/grammar/test_grammar.h"

namespace altlas::text::grammar::schema {
namespace {

using testing_support::expect_schema;

TEST(SchemaObjects, HoldMembersByNameAndNumber) {
  expect_schema(R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"}},
            "required":["a"],"additionalProperties":false})",
                {R"({"a":1})", R"({"a":-12,"b":"x"})", "{\n  \"a\": 1,\n  \"b\": \"\"\n}"},
                {"{}", R"({"b":"x"})", R"({"a":1.5})", R"({"a":1,"c":2})", R"({"a":1,})",
                 R"({"b":"","a":1})"});
  expect_schema(
      R"({"type":"object","properties":{"a":true},"additionalProperties":{"type":"null"}})",
      {"{}", R"({"a":5,"b":null})", R"({"aa":null})", R"({"b":null,"c":null})"},
      {R"({"b":1})", R"({"b":null,"a":1})"});
  expect_schema(
      R"({"type":"object","patternProperties":{"^n":{"type":"integer"},"s$":{"minimum":5}},
             "additionalProperties":false})",
      {R"({"n":1})", R"({"ns":5})", R"({"xs":"any"})"},
      {R"({"ns":4})", R"({"n":"a"})", R"({"y":1})"});
  expect_schema(R"({"type":"object","minProperties":1,"maxProperties":2,"properties":{"a":true}})",
                {R"({"a":1})", R"({"b":1})", R"({"a":1,"b":2})"}, {"{}", R"({"a":1,"b":2,"c":3})"});
  expect_schema(
      R"({"type":"object","propertyNames":{"pattern":"^[ab]+$"},"additionalProperties":true})",
      {R"({"ab":1})", "{}"}, {R"({"c":1})"});
}

}  // namespace
}  // namespace altlas::text::grammar::schema
